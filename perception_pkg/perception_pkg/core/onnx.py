"""Opening an ONNX file for the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perception_pkg.core.model_folder import ModelError

if TYPE_CHECKING:
    import onnxruntime


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session on `threads` CPU threads; 0: all cores.

    Raises:
        ModelError: the file is missing or is no model.
    """
    import onnxruntime

    if not path.is_file():
        raise ModelError(f"{path} is missing; train again or copy the whole model folder")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the core from the other nodes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common class of its own
        raise ModelError(f"{path} is no ONNX model: {' '.join(str(error).split())}") from None
