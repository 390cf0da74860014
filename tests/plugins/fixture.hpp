// What every fixture says of itself, and one note in a file for each time that one is made.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "DistrhoPlugin.hpp"

START_NAMESPACE_DISTRHO

class Fixture : public Plugin
{
public:
    explicit Fixture(uint32_t parameters, uint32_t programs = 0) : Plugin(parameters, programs, 0)
    {
        // The test that counts how often a batch loads a plugin reads this.
        if (const char* const path = std::getenv("GRAMOPHONE_FIXTURE_LOG"))
        {
            if (FILE* const file = std::fopen(path, "a"))
            {
                std::fputs(FIXTURE_NAME "\n", file);
                std::fclose(file);
            }
        }
    }

protected:
    const char* getLabel() const override { return FIXTURE_NAME; }
    const char* getMaker() const override { return "Gramophone Tests"; }
    const char* getLicense() const override { return "GPL-3.0-or-later"; }
    uint32_t getVersion() const override { return d_version(1, 0, 0); }

    int64_t getUniqueId() const override
    {
        int64_t id = 5381;
        for (const char* c = FIXTURE_NAME; *c != 0; ++c)
            id = (id * 33 + *c) & 0x7fffffff;
        return id;
    }

    static void describe(Parameter& p, const char* name, const char* unit, float low, float high, float start,
                         uint32_t hints = 0)
    {
        p.name = name;
        p.symbol = name;
        p.unit = unit;
        p.ranges.min = low;
        p.ranges.max = high;
        p.ranges.def = start;
        p.hints = kParameterIsAutomatable | hints;
    }
};

// A delay line of whole samples for each channel.
class Delay
{
public:
    void make(uint32_t channels, uint32_t samples)
    {
        lines.assign(channels, std::vector<float>(samples, 0.0f));
        at.assign(channels, 0);
    }

    float step(uint32_t channel, float in)
    {
        std::vector<float>& line = lines[channel];
        if (line.empty())
            return in;
        const float out = line[at[channel]];
        line[at[channel]] = in;
        at[channel] = (at[channel] + 1) % line.size();
        return out;
    }

private:
    std::vector<std::vector<float>> lines;
    std::vector<size_t> at;
};

END_NAMESPACE_DISTRHO
