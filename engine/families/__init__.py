"""One file an architecture, on a diffusers pipeline. The table of them is in ``catalog``."""
