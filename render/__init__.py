"""Files to files: stems and album manifests in, styled stems that line up in the DAW out."""
