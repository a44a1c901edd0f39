"""A LoRA file under the names that another program reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from ..errors import JobError
from ..events import Warned
from ..jobs import Dtype


def export_lora(
    source: Path,
    target: Path,
    form: Literal["diffusers", "comfyui", "kohya"],
    dtype: Dtype | None = None,
    notes: list[Warned] | None = None,
) -> Path:
    """Writes ``source``, of any form and kind, as ``target``, with its metadata. No dtype: as it is in the source.

    What other tools will not find in the new file is added to ``notes``.
    """
    from ..network.belonging import family_hint, family_in
    from ..network.files import write_lora
    from ..network.formats import canonical, unread
    from ..network.layers import is_lora, split
    from ..network.reader import read_lora
    from ..runs.atomic import replace_file

    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise JobError(f"{target.name} does not end in .safetensors.", "Give the new file that ending.")
    tensors, metadata = read_lora(source)
    if target.exists() and target.samefile(source):
        raise JobError(f"{target.name} is the file itself.", "Choose another name: the original is never overwritten.")
    ours = canonical(tensors, metadata, source.name, family_hint(metadata))
    layers = split(ours)
    family = family_in(layers, metadata)
    kinds = Counter(tensor.dtype for name, tensor in tensors.items() if is_lora(name))
    kind = dtype or kinds.most_common(1)[0][0]
    replace_file(target, lambda new: write_lora(new, ours, metadata, kind, form, family))
    if notes is not None and (note := unread({path: layer.kind for path, layer in layers.items()}, form, family)):
        notes.append(note)
    return target
