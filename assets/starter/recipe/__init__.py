"""How the starter is made. Run make.py; the other modules are its steps."""
