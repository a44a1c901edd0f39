"""What can be done with finished files. Importing it loads no torch: each tool loads it when it works."""

from .export import export_lora
from .inspect import LoraReport, inspect_lora

__all__ = ["LoraReport", "export_lora", "inspect_lora"]
