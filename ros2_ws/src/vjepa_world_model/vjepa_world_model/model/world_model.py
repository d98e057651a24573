"""The world model: one class with three verbs, `encode`, `rollout` and `energy`.

Features are float32 [..., N, D]: N patches row-major on `grid`, width D, layer-normed as published.
States and actions are those of `poses`. Nothing here touches the disk; see `checkpoints`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from vjepa_world_model.model.encoder import Encoder, normalize_features
from vjepa_world_model.model.poses import apply_action
from vjepa_world_model.model.predictor import ActionConditionedPredictor, KeyValueCache
from vjepa_world_model.runtime import memory
from vjepa_world_model.runtime.compiling import (
    WARM_UP,
    WARM_UP_GRADIENT,
    CannotCompile,
    compiled,
    compiled_steps,
)
from vjepa_world_model.runtime.cores import map_on_cores

# Tokens at once on each thread of a CPU: rows enough for its matrix products, and activations that
# stay in its caches. Measured: half as many are slower, more gain nothing.
_CPU_TOKENS = 1536
_SHARE_OF_FREE = 0.5  # of the memory that is free, for activations


class WorldModel:
    """Frozen V-JEPA 2 encoder and action-conditioned predictor on one device."""

    def __init__(
        self,
        encoder: Encoder | None,
        predictor: ActionConditionedPredictor | None,
        name: str,
        device: torch.device,
        anchored: bool = False,
        memory_limit_bytes: int | None = None,
    ) -> None:
        """Without an encoder it cannot `encode`, without a predictor not `rollout` or `score`.

        Args:
            anchored: `score` takes away what the predictor imagines when nothing is done.
            memory_limit_bytes: for activations; `encode` and `score` go through more pictures or
                sequences in chunks. One at a time is the least, and the graph of gradients is kept
                whole. None: half of what is free when it is first needed.
        """
        if encoder is None and predictor is None:
            raise ValueError(f"{name} has neither encoder nor predictor")
        config = None if predictor is None else predictor.config
        if (
            encoder is not None
            and config is not None
            and (config.embed_dim, config.grid) != (encoder.config.hidden_size, encoder.grid)
        ):
            raise ValueError(
                f"{name}: the encoder gives features of width {encoder.config.hidden_size} on a "
                f"grid {encoder.grid}, the predictor expects width {config.embed_dim} on "
                f"{config.grid}; they do not belong together"
            )
        self.name = name
        self.device = device
        self.anchored = anchored
        self.compiled = False
        """Whether `compile` has done its work."""
        self.not_compiled = ""
        """Why `compile` left the model, or a part of it, as it was."""
        self._limit_bytes = memory_limit_bytes
        self._judge: Callable = _judge
        self._encoder = encoder if encoder is None else encoder.to(device)
        self._predictor = predictor
        if predictor is not None:
            predictor.to(device).eval().requires_grad_(False)

    @property
    def image_size(self) -> int:
        """Side of the square pictures that the encoder sees [px]."""
        return self._vision.image_size

    @property
    def grid(self) -> tuple[int, int]:
        """Patches: rows, columns."""
        return self._predictor.config.grid if self._encoder is None else self._encoder.grid

    @property
    def tokens(self) -> int:
        """Patches of a frame, N."""
        return self.grid[0] * self.grid[1]

    @property
    def width(self) -> int:
        """Width of the features, D."""
        if self._encoder is None:
            return self._predictor.config.embed_dim
        return self._encoder.config.hidden_size

    @property
    def tubelet(self) -> int:
        """Frames of a clip that become one frame of features."""
        return self._vision.config.tubelet_size

    @property
    def heads(self) -> str:
        """Attention heads of the parts, in words."""
        parts = []
        if self._encoder is not None:
            parts.append(f"encoder {self._encoder.config.num_attention_heads} heads")
        if self._predictor is not None:
            parts.append(f"predictor {self._predictor.config.heads} heads")
        return ", ".join(parts)

    @property
    def encoder(self) -> Encoder | None:
        """The part that encodes, if it was loaded."""
        return self._encoder

    @property
    def predictor(self) -> ActionConditionedPredictor | None:
        """The part that imagines, if there is one."""
        return self._predictor

    @property
    def imagines(self) -> bool:
        """Whether there is a predictor for `rollout` and `score`."""
        return self._predictor is not None

    def compile(self, wanted: bool | None = True, backend: str = "inductor") -> None:
        """Compile the scoring, and on a GPU record the encoding of a picture as a CUDA graph.

        Takes a minute or two. Where it cannot be done the model computes as before, and
        `not_compiled` says why.

        Args:
            wanted: None: only on a GPU.
            backend: of torch.compile.
        """
        if not (self.device.type == "cuda" if wanted is None else wanted):
            return
        try:
            if self._predictor is not None:
                self._compile_scoring(backend)
            if self._encoder is not None and self.device.type == "cuda":
                self._encoder.record()
            self.compiled = True
        except CannotCompile as error:
            self.not_compiled = str(error)

    def _compile_scoring(self, backend: str) -> None:
        plain = self._predictor.run, self._judge
        self._predictor.run = compiled_steps(self._predictor.run, backend)
        self._judge = compiled(self._judge, backend)
        self.compiled = True  # now: what is compiled for one thread is compiled anew for several
        frame, goal = torch.zeros(2, self.tokens, self.width, device=self.device)
        state = torch.zeros(7, device=self.device)
        try:
            with torch.no_grad():
                for shape in WARM_UP:
                    self.score(frame, goal, state, torch.zeros(*shape, 7, device=self.device))
            actions = torch.zeros(*WARM_UP_GRADIENT, 7, device=self.device, requires_grad=True)
            torch.autograd.grad(self.score(frame, goal, state, actions).sum(), actions)
        except Exception as error:  # the compilers below torch each raise their own kinds
            self._predictor.run, self._judge = plain
            self.compiled = False
            reason = str(error).partition("\n")[0]
            raise CannotCompile(f"{type(error).__name__}: {reason}") from error

    def encode(self, frames: np.ndarray) -> torch.Tensor:
        """uint8 RGB [B, H, W, 3] -> features [B, N, D]; raises FrameError on anything else."""
        vision = self._vision
        need = memory.encoding_bytes(vision.config, self.tubelet, vision.dtype)
        at_once = max(1, self._activation_bytes // need)
        if len(frames) <= at_once:
            return vision(frames)
        starts = range(0, len(frames), at_once)
        return torch.cat([vision(frames[start : start + at_once]) for start in starts])

    def encode_clips(self, clips: torch.Tensor) -> torch.Tensor:
        """Normalised [B, T, 3, H, W] -> features [B, T / 2 * N, D]; see `Encoder.features`."""
        return self._vision.features(clips)

    @property
    def _vision(self) -> Encoder:
        if self._encoder is None:
            raise ValueError(f"{self.name} was loaded without its encoder")
        return self._encoder

    def rollout(
        self, features: torch.Tensor, states: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Imagine what a sequence of actions leads to.

        Args:
            features: [B, N, D] of the frame now; B may be 1, shared by all sequences.
            states: [B, 7] now; B may be 1.
            actions: [B, H, 7].

        Returns:
            Features [B, H, N, D] and states [B, H, 7] after each action. Differentiable in all
            arguments.
        """
        poses = _follow(states, actions)

        def keep(predicted: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
            imagined = normalize_features(predicted)
            return imagined, imagined

        imagined = [*self._imagine(features, poses[:-1], actions, keep)]
        return torch.stack(imagined, dim=1), torch.stack(poses[1:], dim=1)

    def imagine(
        self,
        features: torch.Tensor,
        state: torch.Tensor,
        actions: torch.Tensor,
        stay: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `score` judges: features [S, H, N, D] and states [S, H, 7] after each action.

        Args:
            features: [N, D] now; state: [7] now; actions: [S, H, 7].
            stay: as for `score`.

        As `rollout` from one frame; for an anchored model with its correction, see `score`.
        """
        imagined, states = self.rollout(features[None], state[None], actions)
        if self.anchored:
            if stay is None:
                stay = self.imagine_stay(features, state, actions.shape[1])
            imagined = _anchored(imagined, features, stay)
        return imagined, states

    def _imagine(
        self,
        features: torch.Tensor,
        states: Sequence[torch.Tensor],
        actions: torch.Tensor,
        look: Callable,
    ) -> Iterator[torch.Tensor]:
        """What is found after each of the actions [B, H, 7].

        Args:
            features: [B, N, D] now; states: before each action.
            look: of what is predicted [B, N, D], before the layer norm, and the number of the
                step it gives what is found, and the features from which the next step goes on.
        """
        if self._predictor is None:
            raise ValueError(
                f"{self.name} has no action-conditioned predictor, it only encodes; give the "
                "official vjepa2-ac-*.pt or a world model folder"
            )
        cache, horizon = KeyValueCache(), actions.shape[1]
        for step in range(horizon):
            predicted = self._predictor.step(
                features, actions[:, step], states[step], cache, last=step == horizon - 1
            )
            found, features = look(predicted, step)
            yield found

    def energy(self, features: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """Mean absolute difference of features [..., N, D] to the goal's [N, D]; [...]."""
        return _energy(features, goal)

    def score(
        self,
        features: torch.Tensor,
        goal: torch.Tensor,
        state: torch.Tensor,
        actions: torch.Tensor,
        stay: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Energy after every step of action sequences [S, H, 7] from one frame; [S, H].

        Args:
            features: [N, D] now; goal: [N, D]; state: [7] now.
            stay: what `imagine_stay` gave for this frame, to save it here.

        An anchored model is scored on features now + (imagined - imagined when doing nothing): a
        small predictor is wrong in much the same way for all actions from one frame, and that
        error would lead away from a goal that is already reached.
        """
        horizon = actions.shape[1]
        if self.anchored and stay is None:
            stay = self.imagine_stay(features, state, horizon)
        now, *later = _follow(state[None], actions[:, :-1])

        def energies(chunk: torch.Tensor, *poses: torch.Tensor) -> torch.Tensor:
            def look(
                predicted: torch.Tensor, step: int
            ) -> tuple[torch.Tensor, torch.Tensor | None]:
                still = stay[step] if self.anchored else None
                return self._judge(predicted, goal, features, still, last=step == horizon - 1)

            return torch.stack([*self._imagine(features[None], [now, *poses], chunk, look)], dim=1)

        at_once = self.sequences_at_once(horizon)
        cores = self._cores(horizon, min(at_once, len(actions)))
        count = min(len(actions), cores * -(-len(actions) // at_once))
        pieces = zip(*(part.tensor_split(count) for part in (actions, *later)), strict=True)
        if cores > 1:
            return torch.cat(map_on_cores(energies, pieces))
        return torch.cat([energies(*piece) for piece in pieces])

    def imagine_stay(
        self, features: torch.Tensor, state: torch.Tensor, horizon: int
    ) -> torch.Tensor | None:
        """What doing nothing leads to in the model's eyes [H, N, D]; None if it is not anchored.

        Args:
            features: [N, D] now; state: [7] now.
        """
        if not self.anchored:
            return None
        nothing = torch.zeros(1, horizon, 7, device=self.device)
        return self.rollout(features[None], state[None], nothing)[0][0]

    def sequences_at_once(self, horizon: int) -> int:
        """Action sequences that `score` imagines together, by the memory limit and the device."""
        config, dtype = self._predictor.config, self._predictor.predictor_embed.weight.dtype
        fit = self._activation_bytes // memory.imagining_bytes(config, 1, horizon, dtype)
        if self.device.type == "cpu":
            tokens = _CPU_TOKENS * torch.get_num_threads()
            fit = min(fit, -(-tokens // (config.tokens + config.conditions)))
        return max(1, fit)

    def _cores(self, horizon: int, sequences: int) -> int:
        """Parts of a batch to imagine at once, each on a core of its own; 1: all cores share every
        operation, as gradients and compiled blocks need it. Measured: that is up to a tenth faster
        for a single step, and a tenth to a quarter slower for several."""
        if self.device.type != "cpu" or horizon == 1 or self.compiled or torch.is_grad_enabled():
            return 1
        return max(1, min(sequences, torch.get_num_threads()))

    @functools.cached_property
    def _activation_bytes(self) -> int:
        if self._limit_bytes is not None:
            return self._limit_bytes
        return int(_SHARE_OF_FREE * memory.available_bytes(self.device))


def _energy(features: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    return (features - goal).abs().mean(dim=(-2, -1))


def _judge(
    predicted: torch.Tensor,
    goal: torch.Tensor,
    now: torch.Tensor,
    stay: torch.Tensor | None,
    last: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Energies [B] of what is predicted [B, N, D], and its features where they are `last` not.

    Args:
        goal, now: features [N, D]; stay: [N, D] if the model is anchored.
    """
    imagined = normalize_features(predicted)
    seen = imagined if stay is None else _anchored(imagined, now, stay)
    return _energy(seen, goal), None if last else imagined


def _anchored(imagined: torch.Tensor, now: torch.Tensor, stay: torch.Tensor) -> torch.Tensor:
    """Imagined features [..., N, D] without what doing nothing, `stay`, would change in them."""
    return normalize_features(now + imagined - stay)


def _follow(states: torch.Tensor, actions: torch.Tensor) -> list[torch.Tensor]:
    """The states [B, 7] before the first and after each of the actions [B, H, 7]."""
    poses = [states]
    for step in range(actions.shape[1]):
        poses.append(apply_action(poses[-1], actions[:, step]))
    return poses
