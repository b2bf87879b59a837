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
    recipe = home.overrides({"caption": {"kind": "imported", "origin": "3d-dst"}})
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
    judged = [str(row["inputs"]) for row in home.rows("select inputs from artifacts where stage = 'score'")]
    assert sum("symmetry" in inputs for inputs in judged) == 1, "both lamps are round, and the filter was told"
    assert "the same bytes" in home.dst("reproduce", rows[0]["sample_id"])
    # Handed over in the official layout and taken in again as somebody else's: the same poses and captions.
    home.dst("export", "official", str(tmp_path / "released"), "--name", "lamps", "--where", "1 = 1")
    home.dst("import", "images", str(tmp_path / "released"), "--origin", "handed over")
    back = home.rows(
        "select f.azimuth_deg - s.azimuth_deg as turned, f.elevation_deg - s.elevation_deg as tipped, "
        "f.distance - s.distance as moved, f.caption, s.prompt from foreign_images f "
        "join images i on i.sha256 = f.image_id join samples s on s.image_key = i.image_key"
    )
    assert len(back) == 8
    for row in back:
        assert max(abs((row["turned"] + 180) % 360 - 180), abs(row["tipped"]), abs(row["moved"])) < 1e-4
        assert row["caption"] == row["prompt"]
