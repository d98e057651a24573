"""Any size that the reference could be run with is computed to the digit; faults are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from vjepa_world_model.evaluation import parity
from vjepa_world_model.evaluation.parity import TOLERANCE, ParityError
from vjepa_world_model.model.poses import apply_action

sys.path.insert(0, str(Path(__file__).parent))
import reference  # noqa: E402

PATCH = 8


@torch.no_grad()
def predictor_file(rows=2, columns=2, width=24, heads=2, outer=20, extrinsics=False, **changes):
    weights = reference.random_weights(reference.predictor_shapes(outer, width, 2, 3 * width), 0)
    config = {
        "img_size": [rows * PATCH, columns * PATCH],
        "patch_size": PATCH,
        "embed_dim": outer,
        "predictor_embed_dim": width,
        "num_heads": heads,
    }
    if extrinsics:
        config["use_extrinsics"] = True
    steps = {}
    for frames in (1, 3):
        inputs = {
            "features": torch.randn(2, frames * rows * columns, outer),
            "actions": torch.randn(2, frames, 7),
            "states": torch.randn(2, frames, 7),
        }
        if extrinsics:
            inputs["extrinsics"] = torch.randn(2, frames, 6)
        output = reference.predict(weights, heads, (rows, columns), *inputs.values())
        steps |= {f"T{frames}/{k}": v for k, v in {**inputs, "output": output}.items()}
    return reference.arrays(json.dumps(config | changes), weights, steps)


@torch.no_grad()
def encoder_file(rows=2, columns=2, width=24, heads=2):
    weights = reference.random_weights(reference.encoder_shapes(width, 2, 4 * width, PATCH), 1)
    config = {"img_size": [rows * PATCH, columns * PATCH], "patch_size": PATCH, "num_heads": heads}
    steps = {}
    for frames in (2, 6):
        clip = torch.randn(1, 3, frames, rows * PATCH, columns * PATCH)
        output = reference.encode(weights, heads, clip)
        steps |= {f"T{frames}/clip": clip, f"T{frames}/output": output}
    return reference.arrays(json.dumps(config), weights, steps)


def largest(differences):
    return max(d.value for d in differences)


SIZES = {
    "square": {},
    "rows above columns": {"rows": 3, "columns": 2},
    "columns above rows": {"rows": 2, "columns": 5},
    "one row": {"rows": 1, "columns": 4},
    "unrotated dimensions": {"width": 40, "heads": 2},  # 20 a head: 18 rotate
    "odd head width": {"width": 42, "heads": 2},  # 21 a head: 18 rotate
    "heads too narrow to rotate": {"width": 24, "heads": 8},
    "one head": {"width": 24, "heads": 1},
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("extrinsics", [False, True], ids=["plain", "extrinsics"])
def test_a_predictor_of_any_size_matches(sizes, extrinsics):
    arrays = predictor_file(**sizes, extrinsics=extrinsics)
    assert parity.kind_of(arrays) == "predictor"
    differences = parity.predictor_differences(arrays)
    assert len(differences) == 4 and largest(differences) < TOLERANCE


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_an_encoder_of_any_size_matches(sizes):
    arrays = encoder_file(**sizes)
    assert parity.kind_of(arrays) == "encoder"
    differences = parity.encoder_differences(arrays)
    assert len(differences) == 2 and largest(differences) < TOLERANCE


@pytest.mark.parametrize("make", [predictor_file, encoder_file])
def test_a_changed_weight_shows(make):
    arrays = make()
    name = next(k for k in arrays if k.endswith("attn.qkv.weight"))
    arrays[name] = arrays[name] + 0.05
    compare = getattr(parity, f"{parity.kind_of(arrays)}_differences")
    assert largest(compare(arrays)) > TOLERANCE


def test_comparing_leaves_the_arrays_as_they_are():
    for make in (lambda: predictor_file(width=192, heads=4), lambda: encoder_file(width=192)):
        arrays = make()
        before = {k: v.copy() for k, v in arrays.items()}
        getattr(parity, f"{parity.kind_of(arrays)}_differences")(arrays)
        assert all(np.array_equal(arrays[k], before[k]) for k in arrays)


def test_numbers_that_are_not_finite_never_match():
    arrays = encoder_file()
    arrays["T2/output"][0, 0, 0] = np.nan
    assert largest(parity.encoder_differences(arrays)) == np.inf


def test_an_image_size_may_be_one_number():
    assert largest(parity.predictor_differences(predictor_file(img_size=2 * PATCH))) < TOLERANCE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.pop("config"), "no readable config"),
        (lambda a: a.pop("T1/states"), "T1 lacks states"),
        (lambda a: [a.pop(k) for k in list(a) if k.startswith("T")], "no T"),
        (lambda a: a.update({"T1/output": a["T1/output"][:, :1]}), r"\[2, 4, 20\] here, \[2, 1"),
    ],
    ids=["config", "states", "nothing", "shape"],
)
def test_an_incomplete_file_is_refused(change, reason):
    arrays = predictor_file()
    change(arrays)
    with pytest.raises(ParityError, match=reason):
        parity.predictor_differences(arrays)


def test_a_model_that_was_never_published_is_refused():
    with pytest.raises(ParityError, match="is_frame_causal False"):
        parity.predictor_differences(predictor_file(is_frame_causal=False))


def test_what_is_no_fixture_is_refused_by_what_it_holds(tmp_path):
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(ParityError, match="it holds something"):
        parity.kind_of(parity.read_arrays(tmp_path / "other.npz"))
    whole = (tmp_path / "other.npz").read_bytes()
    (tmp_path / "other.npz").write_bytes(whole[:50])
    with pytest.raises(ParityError, match="cannot be read as arrays"):
        parity.read_arrays(tmp_path / "other.npz")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "objects.npy").rename(tmp_path / "objects.npz")
    with pytest.raises(ParityError, match="cannot be read as arrays"):
        parity.read_arrays(tmp_path / "objects.npz")


@torch.no_grad()
def plan_and_checkpoint(folder, rows, columns, encoder_heads, predictor_heads, width=24, inner=48):
    """A plan of the plain reference, and its checkpoint in the official layout."""
    encoder = reference.random_weights(reference.encoder_shapes(width, 2, 4 * width, PATCH), 2)
    predictor = reference.random_weights(reference.predictor_shapes(width, inner, 2, 4 * inner), 3)
    path = folder / "some.pt"
    torch.save(
        {
            "encoder": {f"module.backbone.{k}": v for k, v in encoder.items()},
            "predictor": {f"module.{k}": v for k, v in predictor.items()},
        },
        path,
    )

    def normed(x):
        return torch.nn.functional.layer_norm(x, x.shape[-1:])

    pictures = torch.randn(2, 3, rows * PATCH, columns * PATCH)
    clips = pictures[:, :, None].expand(-1, -1, 2, -1, -1)
    frame, goal = normed(reference.encode(encoder, encoder_heads, clips))
    pose, actions = 0.3 * torch.randn(7), 0.1 * torch.randn(3, 2, 7)
    latents, poses = frame.expand(3, 1, -1, -1), pose.expand(3, 1, 7)
    for t in range(2):
        out = reference.predict(
            predictor,
            predictor_heads,
            (rows, columns),
            latents.flatten(1, 2),
            actions[:, : t + 1],
            poses,
        )
        after = normed(out[:, -rows * columns :])
        latents = torch.cat([latents, after[:, None]], 1)
        poses = torch.cat([poses, apply_action(poses[:, -1], actions[:, t])[:, None]], 1)
    arrays = {
        "frame": pictures[0],
        "goal": pictures[1],
        "frame_latent": frame[None, None],
        "goal_latent": goal[None, None],
        "pose": pose.view(1, 1, 7),
        "actions": actions,
        "rollout_latents": latents,
        "rollout_poses": poses,
        "energies": (latents[:, 1:] - goal).abs().mean((-1, -2)),
    }
    return {k: v.numpy() for k, v in arrays.items()}, path


@pytest.mark.parametrize(
    ("rows", "columns", "encoder_heads", "predictor_heads"),
    [(2, 2, 2, 4), (3, 2, 4, 2), (2, 4, 1, 8)],
)
def test_a_plan_finds_the_heads_of_its_checkpoint_and_matches(
    tmp_path, rows, columns, encoder_heads, predictor_heads
):
    arrays, path = plan_and_checkpoint(tmp_path, rows, columns, encoder_heads, predictor_heads)
    assert parity.kind_of(arrays) == "plan"
    plan = parity.ReferencePlan.of(arrays)
    model = parity.model_of_plan(plan, path, [])
    assert model.heads == f"encoder {encoder_heads} heads, predictor {predictor_heads} heads"
    differences = parity.plan_differences(plan, model)
    assert {d.what for d in differences} >= {"frame latent", "rollout latents", "energies"}
    assert largest(differences) < TOLERANCE


def test_a_checkpoint_of_other_sizes_is_not_taken_for_a_plans(tmp_path):
    arrays, path = plan_and_checkpoint(tmp_path, 2, 2, 2, 4)
    arrays["rollout_latents"] = arrays["rollout_latents"][..., :12]
    arrays |= {k: arrays[k][..., :12] for k in ("frame_latent", "goal_latent")}
    with pytest.raises(ParityError, match="features of width 24, the plan has 12"):
        parity.model_of_plan(parity.ReferencePlan.of(arrays), path, [])
