"""The shell around the core: wires the adapters, supervises the running migrations."""
