"""Recording: the same seed gives the same pixels, and the folder opens as a data set."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from vjepa_bringup.commands import collect
from vjepa_sim.core.physics import PandaPhysics
from vjepa_sim.core.scene import along_camera
from vjepa_world_model.data.episodes import EpisodeFolder


def test_the_same_seed_gives_the_same_episode():
    physics = PandaPhysics()
    first = collect.record(physics, 3, frames=3, seed=7)
    again = collect.record(physics, 3, frames=3, seed=7)
    other = collect.record(physics, 3, frames=3, seed=8)
    physics.close()
    for camera in ("camera", "restyled"):
        assert np.array_equal(first.images[camera], again.images[camera])
    assert np.array_equal(first.states, again.states)
    assert not np.array_equal(first.states, other.states)


def test_actions_lead_from_each_state_to_the_next():
    physics = PandaPhysics()
    episode = collect.record(physics, 0, frames=5, seed=0)
    physics.close()
    assert np.allclose(episode.states[:-1] + episode.actions[:-1], episode.states[1:], atol=1e-6)
    assert np.abs(episode.actions[:-1, :3]).max() > 0.002, "the arm moves"


def test_a_turned_camera_turns_the_axes_of_states_and_actions_and_nothing_else():
    physics = PandaPhysics()
    straight = collect.record(physics, 3, frames=4, seed=7)
    turned = collect.record(physics, 3, frames=4, seed=7, max_turn_rad=0.6)
    physics.close()
    turn = float(turned.extra["camera_turn"][0, 0])
    assert 0.01 < abs(turn) <= 0.6
    assert np.allclose(along_camera(straight.states, turn), turned.states, atol=1e-5)
    assert np.allclose(
        np.linalg.norm(straight.actions[:, :2], axis=1),
        np.linalg.norm(turned.actions[:, :2], axis=1),
        atol=1e-6,
    )
    assert not np.array_equal(straight.images["camera"], turned.images["camera"])


def test_an_interrupted_recording_goes_on_and_another_recipe_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "SHARD_EPISODES", 1)
    out = tmp_path / "episodes"
    collect._check_recipe(out, {"episodes": 2, "frames": 3, "seed": 0})
    collect._record_shard((out, 0, 2, 3, 0, 0.0))
    before = (out / "data/chunk-000/file-000.parquet").stat().st_mtime_ns
    todo = [shard for shard in range(2) if not collect.has_shard(out, shard)]
    assert todo == [1]
    collect._record_shard((out, 1, 2, 3, 0, 0.0))
    assert (out / "data/chunk-000/file-000.parquet").stat().st_mtime_ns == before
    collect.finish(out, collect.FPS, "panda_sim")
    data = EpisodeFolder.open(out)
    assert len(data) == 2 and data.cameras == ["camera", "restyled"]
    with pytest.raises(typer.BadParameter, match="choose another folder"):
        collect._check_recipe(out, {"episodes": 3, "frames": 3, "seed": 0})
