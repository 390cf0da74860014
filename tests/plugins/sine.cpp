// An instrument: a sine for each key that is held, from the very sample of its note-on; the loudness is the velocity.
//
// The sustain pedal (CC 64) holds what is released, and program N multiplies the frequency by N + 1.
#include <cstring>

#include "fixture.hpp"

START_NAMESPACE_DISTRHO

class Sine : public Fixture
{
public:
    Sine() : Fixture(1, FIXTURE_PROGRAMS) {}

#if FIXTURE_PROGRAMS
    // As plugins have it whose programs are a parameter of theirs; no MIDI reaches that.
    void initProgramName(uint32_t index, String& name) override { name = "Partial " + String(index + 1); }
    void loadProgram(uint32_t index) override { program = static_cast<int>(index); }
#endif

    void initParameter(uint32_t, Parameter& p) override { describe(p, "Level", "dB", -60.0f, 0.0f, 0.0f); }
    float getParameterValue(uint32_t) const override { return level; }
    void setParameterValue(uint32_t, float value) override { level = value; }

    void activate() override
    {
        std::memset(keys, 0, sizeof(keys));
        pedal = false;
#if !FIXTURE_PROGRAMS
        program = 0;
#endif
    }

    void run(const float**, float** out, uint32_t frames, const MidiEvent* events, uint32_t count) override
    {
        const double rate = getSampleRate();
        const double loud = std::pow(10.0, level / 20.0) * 0.5 / 127.0;
        uint32_t next = 0;
        for (uint32_t i = 0; i < frames; ++i)
        {
            for (; next < count && events[next].frame <= i; ++next)
                hear(events[next]);
            double sum = 0.0;
            for (int k = 0; k < 128; ++k)
            {
                Key& key = keys[k];
                if (key.velocity == 0)
                    continue;
                // A cosine, so that its first sample is the loudest and an onset is one sample wide.
                sum += key.velocity * std::cos(key.phase);
                key.phase += 2.0 * M_PI * 440.0 * std::pow(2.0, (k - 69) / 12.0) * (program + 1) / rate;
            }
            out[0][i] = out[1][i] = static_cast<float>(sum * loud);
        }
    }

private:
    struct Key
    {
        int velocity;
        bool released;
        double phase;
    };

    Key keys[128] = {};
    bool pedal = false;
    int program = 0;
    float level = 0.0f;

    void hear(const MidiEvent& event)
    {
        const uint8_t kind = event.data[0] & 0xf0;
        const uint8_t key = event.data[1] & 0x7f, value = event.data[2] & 0x7f;
        if (kind == 0x90 && value > 0)
            keys[key] = Key{value, false, 0.0};
        else if (kind == 0x80 || kind == 0x90)
        {
            keys[key].released = true;
            if (!pedal)
                keys[key].velocity = 0;
        }
        else if (kind == 0xc0)
            program = key;
        else if (kind == 0xb0 && key == 64)
        {
            pedal = value >= 64;
            for (Key& held : keys)
                if (!pedal && held.released)
                    held.velocity = 0;
        }
        else if (kind == 0xb0 && (key == 120 || key == 123))
            std::memset(keys, 0, sizeof(keys));
    }
};

Plugin* createPlugin() { return new Sine(); }

END_NAMESPACE_DISTRHO
