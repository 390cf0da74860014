"""A rendered album as a session of a DAW, in the formats that DAWs open."""
