"""Tensors on disk: mapped, then copied and cast one by one, so that a load needs little memory.

A mapped tensor takes no memory until it is read. `take` copies it and hands the pages that were
read back to the system: the peak of a load is what it leaves behind plus the largest tensor.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

SHARD_BYTES = 1 << 30
_DONT_NEED = 4  # MADV_DONTNEED of Linux


class CheckpointError(ValueError):
    """Weights are missing, damaged, of another form or do not fit together; says which and why."""


def map_safetensors(folder: Path, stem: str) -> dict[str, torch.Tensor]:
    """Maps `stem.safetensors`, or the shards that `stem.safetensors.index.json` names.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        return _map_file(folder / f"{stem}.safetensors")
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index} names no tensors; copy the folder again")
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted({Path(str(place)).name for place in places.values()}):
        tensors |= _map_file(folder / name)
    missing = sorted(set(places) - set(tensors))
    if missing:
        raise CheckpointError(f"{folder}: {index.name} names {missing[0]}, which no shard holds")
    return tensors


def map_torch_file(path: Path) -> object:
    """Maps what `torch.save` wrote. Nothing in the file is executed.

    Raises:
        CheckpointError: the file holds code, is truncated, or is no torch file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it would call {found[1]}" if found else "its pickle is not one of plain tensors"
        raise CheckpointError(
            f"{path} holds code, which is never executed ({what}); "
            "get the weights from their source"
        ) from error
    except Exception as error:  # torch raises many kinds, none of them its own
        if "central directory" in str(error):
            reason = "it is truncated or damaged; download it again"
        elif "_use_new_zipfile_serialization" in str(error):
            reason = "it is not in the zip format of torch.save; save it again with this torch"
        else:
            reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} cannot be read: {reason}") from error


def take(
    tensor: torch.Tensor,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    *,
    mapped: bool,
) -> torch.Tensor:
    """A contiguous copy of a tensor; the pages that were read of a file are given back.

    Args:
        dtype: of the copy; None keeps the stored one.
        mapped: whether the tensor is from `map_safetensors` or `map_torch_file` and was never
            written to. It stays usable. Of any other tensor, giving back would erase the numbers.
    """
    tensor = tensor.detach()
    copy = tensor.to(device, dtype or tensor.dtype, copy=True).contiguous()
    if mapped:
        if copy.is_cuda:
            torch.cuda.current_stream(copy.device).synchronize()  # the copy may still be reading
        _give_back(tensor)
    return copy


def write_safetensors(folder: Path, stem: str, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Writes tensors as they come; above `SHARD_BYTES` in shards, with the index of Hugging Face.

    Holds one shard at a time: `tensors` may be a generator of more than fits into memory.
    """
    shards: list[list[str]] = []
    total = 0
    waiting: dict[str, torch.Tensor] = {}

    def flush() -> None:
        part = folder / f"{stem}-part-{len(shards) + 1:05d}.safetensors"
        save_file(waiting, part, metadata={"format": "pt"})
        part.chmod(0o644)  # the library's own files are for the owner only
        shards.append(list(waiting))
        waiting.clear()

    for name, tensor in tensors:
        waiting[name] = tensor.detach().cpu().contiguous()
        total += tensor.nbytes
        if sum(t.nbytes for t in waiting.values()) >= SHARD_BYTES:
            flush()
    if waiting:
        flush()
    if len(shards) == 1:
        os.replace(folder / f"{stem}-part-00001.safetensors", folder / f"{stem}.safetensors")
        return
    places = {}
    for number, names in enumerate(shards, start=1):
        file = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        os.replace(folder / f"{stem}-part-{number:05d}.safetensors", folder / file)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def read_json(path: Path) -> dict:
    """A JSON object from a file; raises CheckpointError for anything else."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content


def _map_file(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); copy it again") from error


def _give_back(mapped: torch.Tensor) -> None:
    """Drops the pages that lie wholly inside a tensor; reading it again reads the file again."""
    page = os.sysconf("SC_PAGE_SIZE")
    begin = -(-mapped.data_ptr() // page) * page
    end = (mapped.data_ptr() + mapped.nbytes) // page * page
    if end > begin and mapped.is_contiguous():
        madvise = getattr(ctypes.CDLL(None), "madvise", None)
        if madvise is not None:
            madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONT_NEED)
