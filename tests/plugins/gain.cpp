// A gain that is heard late by FIXTURE_LATENCY samples, and says that it is by FIXTURE_REPORTED.
#include "fixture.hpp"

START_NAMESPACE_DISTRHO

#ifndef FIXTURE_LATENCY
#define FIXTURE_LATENCY 100
#endif
#ifndef FIXTURE_REPORTED
#define FIXTURE_REPORTED FIXTURE_LATENCY
#endif

class Gain : public Fixture
{
public:
    Gain() : Fixture(3) { setLatency(FIXTURE_REPORTED); }

    void initParameter(uint32_t index, Parameter& p) override
    {
        if (index == 0)
            describe(p, "Gain", "dB", -60.0f, 24.0f, 0.0f);
        else if (index == 1)
            describe(p, "Invert", "", 0.0f, 1.0f, 0.0f, kParameterIsBoolean);
        else
        {
            describe(p, "Voicing", "", 0.0f, 2.0f, 0.0f, kParameterIsInteger);
            p.enumValues.count = 3;
            p.enumValues.restrictedMode = true;
            p.enumValues.values = new ParameterEnumerationValue[3]{{0.0f, "Plain"}, {1.0f, "Half"}, {2.0f, "Mute"}};
        }
    }

    float getParameterValue(uint32_t index) const override { return values[index]; }
    void setParameterValue(uint32_t index, float value) override { values[index] = value; }

    void activate() override { delay.make(FIXTURE_CHANNELS, FIXTURE_LATENCY); }

    void run(const float** in, float** out, uint32_t frames) override
    {
        static const float factors[] = {1.0f, 0.5f, 0.0f};
        const float factor = factors[static_cast<int>(values[2] + 0.5f)] * (values[1] > 0.5f ? -1.0f : 1.0f)
                           * std::pow(10.0f, values[0] / 20.0f);
        for (uint32_t c = 0; c < FIXTURE_CHANNELS; ++c)
            for (uint32_t i = 0; i < frames; ++i)
                out[c][i] = delay.step(c, in[c][i]) * factor;
    }

private:
    float values[3] = {0.0f, 0.0f, 0.0f};
    Delay delay;
};

Plugin* createPlugin() { return new Gain(); }

END_NAMESPACE_DISTRHO
