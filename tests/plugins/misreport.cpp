// The gain, late by 300 samples; it says that it is late by FIXTURE_REPORTED.
#define FIXTURE_LATENCY 300
#include "gain.cpp"
