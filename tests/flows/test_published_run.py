"""A run over CAD models of a published list, with published captions: what the list and the captions say reaches the samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.cad import parametric
from tests.flows.conftest import Home


@pytest.mark.slow
def test_a_list_and_captions_reach_renders_prompts_verdicts_and_a_second_making(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "lamp"
    folder.mkdir(parents=True)
    for seed in (2, 3):
        (folder / f"l{seed}.glb").write_bytes(parametric.glb("lamp", seed))
    (tmp_path / "list.csv").write_text(
        "synset,model,distance,azimuth,elevation,strength,sampling\nlamp,lamp/l2,3.5,90,0,1,2\nlamp,lamp/l3,1.5,0,0,1,3\n"
    )
    (tmp_path / "captions.csv").write_text("synset,model,caption\nlamp,lamp/l2,a lamp of brass\nlamp,lamp/l3,a lamp of glass\n")
    home.dst("cad", "import", "folder", str(folder.parent), "--list", str(tmp_path / "list.csv"))
    home.dst("import", "captions", str(tmp_path / "captions.csv"))
    recipe = home.overrides({"caption": {"captioner": "imported", "origin": "3d-dst"}})
    home.dst("run", "lamp", "--samples", "8", "--overrides", recipe)
    rows = home.rows(
        "select a.uid, v.azimuth_deg, v.requested_distance, c.prompt, c.captioner, c.captioner_revision, m.sample_id "
        "from members m join cad_models a on a.cad_id = m.cad_id and a.class_name = m.class_name "
        "join views v on v.render_key = m.render_key join captions c on c.caption_key = m.caption_key"
    )
    assert len(rows) == 8
    for row in rows:
        far = row["uid"] == "lamp/l2"
        assert row["prompt"] == ("a lamp of brass" if far else "a lamp of glass")
        assert (row["captioner"], len(row["captioner_revision"])) == ("imported: 3d-dst", 64)
        assert (row["requested_distance"] >= 3.0) == far
        if far:
            assert min(row["azimuth_deg"], 360 - row["azimuth_deg"]) <= 105
    assert len({row["sample_id"] for row in rows}) == 8
    (judged,) = home.rows("select inputs from artifacts where stage = 'verdict'")
    turns = judged["inputs"] if isinstance(judged["inputs"], str) else str(judged["inputs"])
    assert "symmetry" in turns, "both lamps are round, and the filter was told"
    assert "the same bytes" in home.dst("reproduce", rows[0]["sample_id"])
