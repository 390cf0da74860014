// The gain with one channel in and one out, late by 64 samples.
#define FIXTURE_LATENCY 64
#include "gain.cpp"
