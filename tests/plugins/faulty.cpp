// A plugin that passes the sound on until it is told to fail, and then does so at the first sample above 0.9.
//
// Hosts send sound through a plugin while they load it, so the fault waits for its parameter.
#include <csignal>
#include <unistd.h>

#include "fixture.hpp"

START_NAMESPACE_DISTRHO

class Faulty : public Fixture
{
public:
    Faulty() : Fixture(2)
    {
        if (FIXTURE_FAULT == 4)
            std::raise(SIGSEGV);
    }

    void initParameter(uint32_t index, Parameter& p) override
    {
        if (index == 0)
            describe(p, "Armed", "", 0.0f, 1.0f, 0.0f, kParameterIsBoolean);
        else
            describe(p, "Depth", "%", 0.0f, 100.0f, 50.0f);
    }

    float getParameterValue(uint32_t index) const override { return values[index]; }
    void setParameterValue(uint32_t index, float value) override { values[index] = value; }

    void run(const float** in, float** out, uint32_t frames) override
    {
        for (uint32_t c = 0; c < FIXTURE_CHANNELS; ++c)
            for (uint32_t i = 0; i < frames; ++i)
            {
                out[c][i] = in[c][i];
                if (values[0] > 0.5f && std::fabs(in[c][i]) > 0.9f)
                    out[c][i] = fail();
            }
    }

private:
    float values[2] = {0.0f, 50.0f};

    static float fail()
    {
        if (FIXTURE_FAULT == 1)
            std::raise(SIGSEGV);
        while (FIXTURE_FAULT == 2)
            ::usleep(1000);
        return NAN;
    }
};

Plugin* createPlugin() { return new Faulty(); }

END_NAMESPACE_DISTRHO
