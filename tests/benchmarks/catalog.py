"""How a catalog of millions of samples answers: made-up records through the real writing path, then questions with a clock.

    python -m tests.benchmarks.catalog --classes 1000 --samples 2500 --home FOLDER [--keep] [--postgres [--copied-from CATALOG]]

Enters: how many classes and samples of each. Leaves: a table on the terminal. Records look as the stages write them (keys, poses,
cameras, prompts, verdicts with their JSON); no files are written. Making them up is not counted, only `Catalog.index` and
`set_cohort` are. Without --keep the catalog is removed at the end. --copied-from fills Postgres with the rows of a SQLite catalog
that was kept, by COPY: where only the questions are of interest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.sql import SQL, Identifier

from storage.artifacts import Artifact, ArtifactStore, Record
from storage.catalog import tables
from storage.catalog.catalog import Catalog

MODELS = 25
"""CAD models of a class."""
CREATED = "2026-01-01T00:00:00Z"
SPECS: dict[str, dict[str, Any]] = {
    "cad": {"up": "auto", "front": "auto"},
    "render": {"resolution": 512, "samples": 4, "light": {"kind": "sampled"}},
    "control": {"kind": "canny", "low": 100, "high": 200},
    "caption": {"grammar": 1},
    "image": {"model": "a/b", "revision": "c" * 40, "scheduler": "ddim", "steps": 20, "guidance": 9},
    "score": {"kind": "kcf", "folds": 5},
    "verdict": {"pose": {"kind": "at_most", "score": "kcf", "threshold": 3, "reason": "pose_inconsistent"}},
}
COLOURS = ("red", "blue", "green", "white", "black", "silver")


def class_name(number: int) -> str:
    return f"class {number:04d}"


def key_of(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def _record(stage: str, key: str, inputs: dict[str, Any], values: dict[str, Any], files: tuple[str, ...]) -> Record:
    described = {name: {"sha256": key_of(key, name), "bytes": 30_000} for name in files}
    runtime = {"seconds": 0.5, "device": "cuda:0", "machine": "x86_64", "threads": 1, "batch": 16, "torch": "2.13.0"}
    return Record(
        key=key, stage=stage, version=1, spec=SPECS[stage], inputs=inputs, values=values, files=described, runtime=runtime,
        created_at=CREATED,
    )  # fmt: skip


def sample(name: str, number: int, chance: random.Random) -> tuple[list[Record], dict[str, Any]]:
    """Return the records of one sample (without those its CAD model shares), and the sample as a member of a cohort."""
    model, view = number % MODELS, number // MODELS
    cad_id, cad_key = key_of(name, model), key_of("cad", name, model)
    keys = {stage: key_of(stage, name, number) for stage in ("render", "control", "caption", "image")}
    identity = {"class_name": name, "cad_id": cad_id, "view_index": view}
    azimuth, elevation, distance = chance.uniform(0, 360), chance.gauss(30, 15), chance.uniform(1, 3)
    corner = [[chance.uniform(0, 511), chance.uniform(0, 511)] for _ in range(8)]
    turn = [[chance.uniform(-1, 1) for _ in range(3)] for _ in range(3)]
    annotation = {
        "azimuth_deg": azimuth, "elevation_deg": max(-90.0, min(90.0, elevation)), "inplane_deg": 0.0, "distance": distance,
        "requested_distance": distance, "moved_back": False, "width": 512, "height": 512, "box": [40.5, 60.5, 470.5, 400.5],
        "box3d": corner, "box3d_extents": [1.0, 0.5, 0.4], "K": [[560.0, 0, 255.5], [0, 560.0, 255.5], [0, 0, 1]], "R": turn,
        "t": [0.0, 0.0, distance], "visible_fraction": 1.0, "truncated_fraction": 0.0, "depth_scale": 1e-4,
        "light": {"kind": "sampled", "azimuth_deg": chance.uniform(0, 360), "elevation_deg": 40.0, "softness_deg": 10.0},
    }  # fmt: skip
    colour = chance.choice(COLOURS)
    words = {"colour": colour, "material": "steel", "scene": "a street", "light": "noon", "viewpoint": "from above"}
    caption = {
        "prompt": f"a photo of a {colour} {name} made of steel on a street at noon, seen from above", "negative_prompt": "",
        "words": words, "captioner": "grammar", "captioner_revision": "1",
    }  # fmt: skip
    image = {"seed": chance.getrandbits(62), "attempt": 0, "model_id": "a/b", "model_revision": "c" * 40, "mean": 0.5}
    drawn = {**identity, "draw_index": 0}
    controls = {"canny": keys["control"]}
    records = [
        _record("render", keys["render"], {**identity, "cad": cad_key}, annotation, ("depth.png", "mask.png", "rgba.png")),
        _record("control", keys["control"], {"render": keys["render"]}, {"pixels": 9000, "density": 0.03}, ("control.png",)),
        _record("caption", keys["caption"], {**drawn, "keywords": ["fast"]}, caption, ("caption.json",)),
        _record("image", keys["image"], {**drawn, "controls": controls, "caption": keys["caption"]}, image, ("image.png",)),
    ]  # fmt: skip
    member = {
        "sample_id": f"{name.replace(' ', '_')}-{cad_id[:12]}-{view:04d}-00", "cad_id": cad_id, "view_index": view,
        "draw_index": 0, "cad_key": cad_key, **{f"{stage}_key": key for stage, key in keys.items()},
        "controls": controls, "verdict_key": key_of("verdict", name),
        "status": "made", "stage": None, "reason": None, "detail": None,
    }  # fmt: skip
    return records, member


class Unwritten(ArtifactStore):
    """A store that keeps no file: of an artifact it hands out what was said of it last."""

    def __init__(self) -> None:
        super().__init__("nowhere")
        self.verdicts: list[dict[str, Any]] = []

    def put(self, record: Record, files: Mapping[str, bytes] | None = None) -> Artifact:
        return Artifact(record)

    def read(self, artifact: Artifact, name: str) -> bytes:
        return json.dumps(self.verdicts).encode()


def cohort(name: str, samples: int) -> tuple[list[Record], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return records, members and verdicts of one class: some images failed, some were dropped."""
    chance = random.Random(name)
    facts = {"faces": 5000, "watertight": True}
    records = [
        _record("cad", key_of("cad", name, model), {"cad_id": key_of(name, model)}, facts, ("model.glb",))
        for model in range(min(MODELS, samples))
    ]  # fmt: skip
    members, verdicts = [], []
    for number in range(samples):
        made, member = sample(name, number, chance)
        if chance.random() < 0.01:
            # A black image: tried, no files, a reason.
            member.update(status="failed", stage="image", reason="black_image", image_key=None, verdict_key=None)
            made.pop()
        else:
            kcf, fidelity = chance.gauss(0, 1.5), chance.random()
            kept = kcf < 3
            scores = {
                "kcf": kcf, "kcf_azimuth": kcf / 2, "kcf_elevation": 0.1, "kcf_inplane": 0.0, "kcf_disagreement": 0.1,
                "kcf_fold": number % 5, "fidelity": fidelity, "fidelity_canny": fidelity,
            }  # fmt: skip
            reason = None if kept else "pose_inconsistent"
            verdicts.append({"image_key": member["image_key"], "kept": kept, "reason": reason, "scores": scores})
        records += made
        members.append(member)
    judges = {judge: {"judge": judge, "judged": len(verdicts), "not_judged": None} for judge in ("kcf", "fidelity")}
    kept_images = sum(row["kept"] for row in verdicts)
    values = {
        "kept": kept_images, "dropped": len(verdicts) - kept_images, "not_judged": 0, "rule": "kcf at most 3",
        "rules": [{"name": rule, **said, "words": "kcf at most 3"} for rule, said in SPECS["verdict"].items()], "judges": judges,
    }  # fmt: skip
    images = [row["image_key"] for row in verdicts]
    scored = {judge: key_of("score", judge, name) for judge in judges}
    for judge, key in scored.items():
        records.append(_record("score", key, {"class_name": name, "images": images}, judges[judge], ("scores.json",)))
    inputs = {"class_name": name, "images": images, "scores": scored}
    records.append(_record("verdict", key_of("verdict", name), inputs, values, ("verdicts.json",)))
    return records, members, verdicts


def fill(catalog: Catalog, clock: Clock, classes: int, samples: int) -> Iterator[tuple[float, float, int]]:
    """Write every class through the catalog's own methods; yield (seconds, CPU seconds, rows written) after each."""
    assert isinstance(catalog.store, Unwritten)
    for number in range(classes):
        name = class_name(number)
        records, members, catalog.store.verdicts = cohort(name, samples)
        for model in range(min(MODELS, samples)):
            catalog.add_cad_model(
                cad_id=key_of(name, model), class_name=name, source=f"{name}/{model}.glb", keywords=["fast"], licence="CC BY 4.0",
                cad_key=key_of("cad", name, model),
            )  # fmt: skip
        before = clock.read()
        rows = catalog.index(map(Artifact, records))
        run_id = catalog.start_run(class_name=name, recipe="paper", recipe_specs=SPECS, samples=samples)
        rows += catalog.set_cohort(name, "paper", run_id, members)
        seconds = {"render": samples * 0.6, "image": samples * 0.5}
        catalog.finish_run(run_id, status="complete", seconds=seconds, counts={"new_render": samples, "new_image": samples})
        wall, busy = (after - start for after, start in zip(clock.read(), before))
        yield wall, busy, rows


def questions(name: str, sample_id: str, image_key: str) -> dict[str, str]:
    """Return what is asked about one class: name -> SQL."""
    of_class = f"class_name = '{name}'"
    return {
        "how many, and what share is kept": f"select count(*), avg(kept) from samples where {of_class}",
        "every accepted sample with boxes, pose and camera": f"select * from accepted where {of_class}",
        "samples seen from the left, best first": f"select sample_id, file from samples where {of_class} and kept = 1 "
        "and azimuth_deg between 60 and 120 order by kcf limit 100",
        "coverage by viewpoint bin": f"select * from coverage where {of_class}",
        "yield by CAD model": f"select * from yields where {of_class}",
        "reasons for rejection": f"select * from rejections where {of_class}",
        "cost by stage": f"select * from costs where {of_class}",
        "provenance of one sample": f"select * from provenance where sample_id = '{sample_id}'",
        "scores of one image": f"select name, value from scores s join members m on m.verdict_key = s.verdict_key "
        f"and m.image_key = s.image_key where m.image_key = '{image_key}'",
        "lineage of one image": f"select * from lineage where key = '{image_key}'",
        "what an export of the class selects": f"select s.*, v.intrinsics, v.rotation, v.translation from "
        f"(select * from samples where {of_class} and kept = 1 and in_cohort = 1) s "
        "left join views v on v.render_key = s.render_key",
    }


AGGREGATES = {
    "samples and share kept by class": "select class_name, count(*), avg(kept) from samples where in_cohort = 1 group by 1",
    "coverage of everything": "select azimuth_from_deg, elevation_from_deg, sum(samples), sum(kept) from coverage group by 1, 2",
    "the ten worst CAD models": "select class_name, cad_name, yield from yields order by yield, 1, 2 limit 10",
    "reasons for rejection": "select what, stage, reason, sum(rejected) from rejections group by 1, 2, 3 order by 4 desc",
    "scores by colour": "select colour, avg(kcf), avg(fidelity) from samples where kept = 1 group by 1",
    "seconds by stage": "select stage, sum(seconds), sum(made) from costs group by 1",
}


class Clock:
    """Seconds on the wall, and seconds of processor time in this process and in the database server."""

    def __init__(self, server_pid: int | None) -> None:
        self.server_pid = server_pid

    def read(self) -> tuple[float, float]:
        """Return both, since some moment."""
        busy = time.process_time()
        if self.server_pid is not None:
            server = psutil.Process(self.server_pid)
            for process in (server, *server.children()):
                # One that has just ended is counted among the server's ended children.
                with suppress(psutil.NoSuchProcess):
                    busy += sum(process.cpu_times()[: 4 if process is server else 2])
        return time.perf_counter(), busy

    def took(self, ask: Callable[[], object], repeats: int) -> tuple[float, float, float]:
        """Return, of a question: the wall's first time, and the medians of the wall's and of the processor's other times."""
        times = []
        for _ in range(repeats):
            before = self.read()
            ask()
            times.append([after - start for after, start in zip(self.read(), before)])
        rest = times[1:] or times
        return times[0][0], statistics.median(wall for wall, _ in rest), statistics.median(busy for _, busy in rest)


def scans(catalog: Catalog, sql: str) -> list[str]:
    """Return the tables with a row for each sample that a plan reads from end to end."""
    plan = catalog.query(("EXPLAIN " if catalog.database.kind == "postgresql" else "EXPLAIN QUERY PLAN ") + sql)
    lines = [str(line).strip() for line in plan.iloc[:, -1]]
    big = {"members", "views", "images", "image_controls", "controls", "captions", "verdicts", "scores", "artifacts"}
    short = {"m": "members", "v": "views", "i": "images", "k": "controls", "t": "captions", "d": "verdicts", "s": "scores"}
    found = []
    for line in lines:
        words = line.replace("->", "").replace("Parallel ", "").split()
        read = words[3] if words[:3] == ["Seq", "Scan", "on"] else words[1] if words[:1] == ["SCAN"] else ""
        if read in big or short.get(read, "") in big:
            found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--samples", type=int, default=2500, help="of each class")
    parser.add_argument("--home", type=Path, required=True, help="folder for catalog and copy")
    parser.add_argument("--postgres", action="store_true", help="on a Postgres server started for this, its data in --home")
    parser.add_argument("--copied-from", type=Path, help="with --postgres: the rows of this SQLite catalog instead of new ones")
    parser.add_argument("--keep", action="store_true", help="leave a SQLite catalog there; one that is there is only asked")
    arguments = parser.parse_args()
    arguments.home.mkdir(parents=True, exist_ok=True)
    file = arguments.home / "catalog.sqlite"
    with ExitStack() as stack:
        url, clock = f"sqlite:///{file.absolute()}", Clock(None)
        if arguments.postgres:
            from tests import postgres

            server = stack.enter_context(postgres.running(arguments.home, shared_buffers="2GB"))
            name = server.new_database()
            url, clock = server.url(name), Clock(server.pid)
        catalog = Catalog(url, Unwritten())
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
        if not catalog.exists or not catalog.classes():
            catalog.migrate()
        if arguments.postgres and arguments.copied_from:
            _copy_rows(arguments.copied_from, server.url(name, "postgres"))
        elif not catalog.classes():
            _insert(catalog, clock, arguments.classes, arguments.samples)
        _ask(catalog, clock, arguments.home / "copy")
        size = (
            catalog.query("select pg_database_size(current_database()) as n").n[0] if arguments.postgres else file.stat().st_size
        )
        print(f"\nsize of the catalog: {size / 1e9:.2f} GB; load at the end {os.getloadavg()[0]:.1f}")
    if not arguments.keep:
        shutil.rmtree(arguments.home)


def _insert(catalog: Catalog, clock: Clock, classes: int, samples: int) -> None:
    wall = busy = rows = 0.0
    for number, (seconds, processor, written) in enumerate(fill(catalog, clock, classes, samples), start=1):
        wall, busy, rows = wall + seconds, busy + processor, rows + written
        if number % max(1, classes // 10) == 0:
            print(f"{number} classes  {rows:,.0f} rows  {rows / wall:,.0f} a second  {rows / busy:,.0f} a CPU second", flush=True)
    print(
        f"bulk insert: {rows:,.0f} rows of {classes * samples:,} samples: {wall:.0f} s, {rows / wall:,.0f} rows/s; "
        f"{busy:.0f} CPU seconds, {rows / busy:,.0f} rows a CPU second"
    )


def _copy_rows(file: Path, url: str) -> None:
    """Fill an empty Postgres catalog with a SQLite catalog's rows, table by table; `url` is a superuser's."""
    with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True) as source, psycopg.connect(url) as target:
        # The rows refer to each other as they did there: no need to look each one up again.
        target.execute("SET session_replication_role = replica")
        for table in tables.metadata.sorted_tables:
            names = [column.name for column in table.columns]
            columns = SQL(", ").join(map(Identifier, names))
            quoted = ", ".join(f'"{name}"' for name in names)
            target.execute(SQL("TRUNCATE {} CASCADE").format(Identifier(table.name)))
            statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table.name), columns)
            before, count = time.perf_counter(), 0
            with target.cursor().copy(statement) as rows:
                for row in source.execute(f'SELECT {quoted} FROM "{table.name}"'):
                    rows.write_row(row)
                    count += 1
            if count:
                print(f"{table.name}: {count:,} rows copied in {time.perf_counter() - before:.0f} s", flush=True)


def _ask(catalog: Catalog, clock: Clock, folder: Path) -> None:
    from storage.catalog import copy

    names = catalog.classes()
    name = names[len(names) // 2]
    found = catalog.query(f"select sample_id, image_key from samples where class_name = '{name}' and kept = 1 limit 1").iloc[0]
    if catalog.database.kind == "postgresql":
        with catalog.database.writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    print(f"\n| about one class of {len(names)} | first, s | again, s | CPU, s | plan |\n|---|---|---|---|---|")
    for what, sql in questions(name, found.sample_id, found.image_key).items():
        first, again, busy = clock.took(lambda sql=sql: catalog.query(sql), 8)  # type: ignore[misc]
        plan = "; ".join(scans(catalog, sql)) or "indexes only"
        print(f"| {what} | {first:.3f} | {again:.3f} | {busy:.3f} | {plan} |", flush=True)
    made: list[copy.About] = []
    _, wall, busy = clock.took(lambda: made.append(copy.write(catalog.database, folder)), 1)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"\ncopy: {made[0].rows['samples']:,} samples in {wall:.0f} s, {busy:.0f} CPU seconds, {size:.0f} MB\n")
    print("| about everything | on the database, s | CPU, s | on the copy, s | CPU, s |\n|---|---|---|---|---|")
    for what, sql in AGGREGATES.items():
        _, wall, busy = clock.took(lambda sql=sql: catalog.query(sql), 1)  # type: ignore[misc]
        _, fast, fast_busy = clock.took(lambda sql=sql: copy.query(folder, sql), 4)  # type: ignore[misc]
        print(f"| {what} | {wall:.2f} | {busy:.2f} | {fast:.2f} | {fast_busy:.2f} |", flush=True)


if __name__ == "__main__":
    main()
