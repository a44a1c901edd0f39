"""The machine: devices, precision, loading, memory. One function each."""
