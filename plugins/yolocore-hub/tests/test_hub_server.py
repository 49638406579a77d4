"""The server, as a process, without any training: keys, limits, hostile input, two clients at once."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from hub_kit import HubServer

from yolocore_hub.client import HubClient
from yolocore_hub.server.app import create_app

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fcffff3f030005fe02fea73581840000000049454e44ae426082")  # fmt: skip  # noqa: E501
HOSTILE = ("../../../etc/passwd", "<script>alert(1)</script>", 'x" onmouseover="alert(1)', "a\u202egnp.exe", "x" * 1000)


@pytest.fixture
def client(server):
    with server.client() as found:
        yield found


@pytest.fixture
def model(client):
    answer = client.post("/v1/models", json={"meta": {"name": "exp", "project": "tests"}, "config": {"epochs": 5}})
    return answer.raise_for_status().json()["data"]["id"]


def upload(client, model, content, name="last.pt", **fields):
    data = {"epoch": "0", "type": "epoch", "isBest": "false", **fields}
    return client.post(f"/v1/models/{model}/upload", data=data, files={"file": (name, content)})


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# keys ----------------------------------------------------------------------------------------------------------


def test_nothing_works_without_a_right_key(server, model):
    wrong = f"{server.key[:-4]}AAAA"
    for headers in ({}, {"x-api-key": ""}, {"x-api-key": wrong}, {"authorization": f"Bearer {wrong}"}):
        with httpx.Client(base_url=server.address, headers=headers) as anyone:
            answers = [
                anyone.post("/v1/auth"),
                anyone.get("/v1/models"),
                anyone.get(f"/v1/models/{model}/checkpoints/last"),
                anyone.post("/v1/models", json={"meta": {"name": "x"}}),
                anyone.post("/api/webhooks/training/metrics", json={}),
                upload(anyone, model, b"x"),
            ]
        assert [answer.status_code for answer in answers] == [401] * 6
        assert answers[0].json() == {
            "success": False,
            "message": "a key is needed that this server knows: header x-api-key",
        }


def test_keys_are_stored_as_hashes_and_can_be_revoked(server):
    other = server.command("token", "create", "other one").strip()
    assert httpx.post(f"{server.address}/v1/auth", headers={"x-api-key": other}).json()["success"] is True
    assert httpx.post(f"{server.address}/v1/auth", headers={"authorization": f"Bearer {other}"}).status_code == 200
    _, token_id, secret = other.split("_", 2)
    listed = server.command("token", "list")
    assert token_id in listed
    assert secret not in listed
    for path in server.data_dir.glob("hub.sqlite*"):
        assert secret.encode() not in path.read_bytes()
    server.command("token", "revoke", token_id)
    assert httpx.post(f"{server.address}/v1/auth", headers={"x-api-key": other}).status_code == 401


def test_guessing_keys_is_slowed_down(own_server):
    answers = [
        httpx.post(f"{own_server.address}/v1/auth", headers={"x-api-key": f"yh_{n:012}_guess"}) for n in range(25)
    ]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:20] == [401] * 20
    assert statuses[-1] == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    right = httpx.post(f"{own_server.address}/v1/auth", headers={"x-api-key": own_server.key})
    assert right.status_code == 200, "nobody can lock others out"


def test_a_client_that_asks_too_often_is_told_to_wait(tmp_path):
    server = HubServer(tmp_path / "data", "--requests", "30").start()
    try:
        with server.client() as client:
            answers = [client.get("/v1/models") for _ in range(40)]
            assert [answer.status_code for answer in answers[:30]] == [200] * 30
            assert answers[-1].status_code == 429
            time.sleep(float(answers[-1].headers["retry-after"]) + 1.5)
            assert client.get("/v1/models").status_code == 200
    finally:
        server.kill()


# limits --------------------------------------------------------------------------------------------------------


def test_an_oversize_upload_is_refused_and_leaves_nothing(tmp_path):
    server = HubServer(tmp_path / "data", "--max-upload", "1").start()
    try:
        hub = HubClient(server.address, server.key)
        assert hub.authenticate().max_upload == 1 << 20
        model = hub.create({"name": "x"}, {})
        with server.client() as client:
            assert upload(client, model, bytes(1 << 20)).status_code == 200
            before = files_below(server.data_dir / "files")
            declared = upload(client, model, bytes(9 << 20))
            assert declared.status_code == 413
            assert declared.json()["success"] is False

            boundary = b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
            pieces = iter([boundary, *[bytes(1 << 20)] * 9])
            headers = {"content-type": "multipart/form-data; boundary=b"}
            chunked = client.post(f"/v1/models/{model}/upload", content=pieces, headers=headers)
            assert chunked.status_code == 413

            assert client.post(f"/v1/models/{model}", content=b"[" * (5 << 20)).status_code == 413
            assert client.post("/v1/auth", content=b"x" * (5 << 20)).status_code in (200, 413)
            assert client.get(f"/v1/models/{model}").status_code == 200, "the server is well"
            assert files_below(server.data_dir / "files") == before
        hub.close()
    finally:
        server.kill()


def test_a_ticket_is_good_for_one_upload(client, server):
    def announce(**body):
        return client.post("/api/webhooks/models/upload", json={"project": "p", "name": "../<b>", **body})

    for size in (0, -1, "5", None, True):
        assert announce(filename="best.pt", size=size).status_code == 422
    assert announce(filename="best.pt", size=1 << 40).status_code == 413
    place = announce(filename="../../best.pt", size=7).raise_for_status().json()["data"]["uploadUrl"]
    with httpx.Client(base_url=server.address) as anyone:
        assert anyone.put(place, content=b"weights").status_code == 200
        assert anyone.put(place, content=b"again").status_code == 403
        assert anyone.put("/api/uploads/" + "A" * 43, content=b"guess").status_code == 403
    model = server.models()[-1]
    assert server.file(model, "final", "final") == b"weights"
    assert client.get(f"/v1/models/{model}").json()["data"]["meta"] == {"name": "../<b>", "project": "p"}


def test_pictures_are_limited_in_kind_and_number(client, model):
    def send(name, content):
        return client.post(f"/v1/models/{model}/images", data={"epoch": "0"}, files={"file": (name, content)})

    assert send("a.png", PNG).status_code == 200
    for content in (b"<svg onload='alert(1)'/>", b"<!doctype html><script>alert(1)</script>", b"", b"GIF89a"):
        assert send("b.png", content).status_code == 422
    assert send("big.png", PNG + bytes(17 << 20)).status_code == 413
    answer = client.get(f"/v1/models/{model}/images/a.png")
    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "body",
    [
        {}, {"metrics": []}, {"metrics": {"x": "{}"}}, {"metrics": {"-1": "{}"}}, {"metrics": {"0": "{"}},
        {"metrics": {"0": "[1]"}}, {"metrics": {"0": '{"a": "b"}'}}, {"metrics": {"0": '{"a": {"b": 1}}'}},
        {"metrics": {"99999999999": "{}"}}, {"metrics": {"0": json.dumps({str(n): n for n in range(501)})}},
        {"metrics": {"0": "[" * 100_000}}, {"metrics": {"1": '{"a": 1}', "0": '{"a": true}'}},
    ],
)  # fmt: skip
def test_unfit_metrics_are_refused_whole(client, server, model, body):
    answer = client.post(f"/v1/models/{model}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["success"] is False
    assert server.metrics(model) == {}


def test_what_is_not_finite_becomes_null(client, server, model):
    text = '{"a": NaN, "b": Infinity, "c": null, "d": 1e999, "e": 0.5}'
    client.post(f"/v1/models/{model}", json={"metrics": {"0": text}}).raise_for_status()
    assert server.metrics(model) == {0: {"a": None, "b": None, "c": None, "d": None, "e": 0.5}}
    assert client.get(f"/v1/models/{model}/metrics").json()["data"]["0"]["e"] == 0.5


def test_an_epoch_that_is_sent_again_replaces_the_old_one(client, server, model):
    for numbers in ({"a": 1, "b": 2}, {"a": 3}):
        client.post(f"/v1/models/{model}", json={"metrics": {"0": json.dumps(numbers)}}).raise_for_status()
    assert server.metrics(model) == {0: {"a": 3.0}}


def test_hostile_values_poison_no_list_and_no_page(client, server, model):
    values = '{"a": NaN, "b": [1e999, -Infinity], "c": "\\ud800", "\\udfff": 1, "epochs": 1e999}'
    body = f'{{"meta": {{"name": "\\ud800", "project": "poison"}}, "config": {values}}}'
    json_type = {"content-type": "application/json"}
    answer = client.post("/v1/models", content=body, headers=json_type).raise_for_status()
    made = answer.json()["data"]["id"]
    changes = f'{{"args": {values}, "final": {{"a": NaN}}, "status": "training"}}'
    client.patch(f"/v1/models/{made}", content=changes, headers=json_type).raise_for_status()
    numbers = {f"n/{index}": value for index, value in enumerate((1.7e308, -1.7e308, 5e-324, 1e-310, 1e99, -1e99))}
    for epoch in range(2):
        sent = {"metrics": {str(epoch): json.dumps({**numbers, "n/0": numbers["n/0"] / (epoch + 1)})}}
        client.post(f"/v1/models/{made}", json=sent).raise_for_status()
    heartbeat = client.post(f"/v1/agent/heartbeat/models/{made}", content='{"agentId": NaN}', headers=json_type)
    assert heartbeat.status_code == 200
    deep = f'{{"config": {"[" * 200_000}}}'
    assert client.post("/v1/models", content=deep, headers=json_type).status_code in (400, 422)
    known = client.get(f"/v1/models/{made}").raise_for_status().json()["data"]
    assert known["args"] == {"a": None, "b": [None, None], "c": "?", "?": 1, "epochs": None}
    client.get("/v1/models").raise_for_status()
    with server.browser() as browser:
        for path in ("/", "/projects/poison", f"/models/{made}"):
            browser.get(path).raise_for_status()


def asked(app, method, path, **content):
    """Return the answer of an application in this process."""

    async def ask():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
            return await client.request(method, path, **content)

    return asyncio.run(ask())


def test_a_full_disk_is_said_and_passes(tmp_path, monkeypatch):
    app = create_app(tmp_path)
    services = app.state.services
    key = services.access.tokens.create("tests")
    headers, model = {"x-api-key": key}, services.records.create(key.split("_")[1], "exp", "tests", {})
    entry = {"metrics": {"0": json.dumps({"n" * 100 + str(n): n for n in range(499)})}}

    def sent(path="", **content):
        return asked(app, "POST", f"/v1/models/{model}{path}", headers=headers, **content)

    database = services.records._database
    with database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    full = sent(json=entry)
    assert (full.status_code, full.headers["retry-after"]) == (507, "60")
    assert services.records.metrics(model) == {}
    with database.reading() as connection:
        assert not connection.in_transaction
        connection.execute("PRAGMA max_page_count = 100000")
    assert sent(json=entry).status_code == 200
    assert len(services.records.metrics(model)[0]) == 499

    def no_room(stream):
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(services.blobs, "stage", no_room)
        form = {"data": {"type": "epoch"}, "files": {"file": ("last.pt", b"weights")}}
        assert sent("/upload", **form).status_code == 507
    assert sent("/upload", **form).status_code == 200
    database.close()


# hostile names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(client, server, name):
    body = {"meta": {"name": name, "project": name}, "config": {name: name}}
    model = client.post("/v1/models", json=body).raise_for_status().json()["data"]["id"]
    assert re.fullmatch(r"[A-Za-z0-9]{20}", model)
    client.post(f"/v1/models/{model}", json={"metrics": {"0": json.dumps({name: 1.0})}}).raise_for_status()
    client.patch(f"/v1/models/{model}", json={"args": {name: name}, "status": "finished"}).raise_for_status()
    upload(client, model, b"weights", name=name).raise_for_status()
    files = {"file": (name, PNG)}
    client.post(f"/v1/models/{model}/images", data={"epoch": "0"}, files=files).raise_for_status()

    stored = {path for path in files_below(server.data_dir) if not path.startswith("hub.sqlite")}
    assert all(re.fullmatch(r"files/[0-9a-f]{2}/[0-9a-f]{64}", path) for path in stored)
    known = client.get(f"/v1/models/{model}").json()["data"]["meta"]
    assert len(known["name"]) <= 120
    assert known["name"].isprintable()
    picture = next(f for f in client.get(f"/v1/models/{model}/files").json()["data"] if f["kind"] == "image")
    assert "/" not in picture["name"]

    with server.browser() as browser:
        for path in ("/", f"/models/{model}"):
            page = browser.get(path)
            assert page.status_code == 200
            assert "<script>alert" not in page.text
            assert 'x" onmouseover' not in page.text
            for source in re.findall(r'<img src="([^"]+)"', page.text):
                assert browser.get(source).content == PNG
        projects = re.findall(r'href="(/projects/[^"]+)"', browser.get("/").text)
        assert all(browser.get(path).status_code == 200 for path in projects)
    disposition = client.get(f"/v1/models/{model}/checkpoints/last").headers["content-disposition"]
    assert "\n" not in disposition


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/..%2f..%2fhub.sqlite", "/v1/models/../../hub.sqlite", "/v1/models/%00", "/static/..%2fapp.py",
        "/static/%2e%2e/app.py", "/v1/models/{model}/checkpoints/..%2f..%2f..%2fhub.sqlite",
        "/v1/models/{model}/checkpoints/image", "/v1/models/{model}/images/..%2f..%2fhub.sqlite", "/hub.sqlite",
        "/projects/..%2f..", "/models/" + "a" * 3000, "/v1/models/" + "A" * 20,
    ],
)  # fmt: skip
def test_no_path_leads_out(client, server, model, path):
    with server.browser() as browser:
        answer = browser.get(path.format(model=model))
    assert answer.status_code in (404, 422)
    assert b"SQLite format" not in answer.content


# life ----------------------------------------------------------------------------------------------------------


def test_two_clients_at_once(server):
    failures = []

    def work(number):
        try:
            hub = HubClient(server.address, server.key)
            hub.authenticate()
            model = hub.create({"name": f"client {number}", "project": "both"}, {"epochs": 40})
            for epoch in range(40):
                hub.metrics(model, {epoch: json.dumps({"metrics/mAP50-95(B)": number + epoch / 100, "lr/pg0": epoch})})
                hub.heartbeat(model)
                if epoch % 10 == 0:
                    content = bytes([number]) * 300_000 + bytes([epoch])
                    hub.checkpoint(model, io.BytesIO(content), epoch=epoch, is_best=epoch == 20)
                    hub.image(model, "same.png", io.BytesIO(PNG), epoch=epoch)
                assert hub.model(model)["id"] == model
            models[number] = model
            hub.close()
        except Exception as error:
            failures.append(error)

    models: dict[int, str] = {}
    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    for number, model in models.items():
        expected = {e: {"metrics/mAP50-95(B)": number + e / 100, "lr/pg0": e} for e in range(40)}
        assert server.metrics(model) == expected
        assert server.file(model, "last", "last") == bytes([number]) * 300_000 + bytes([30])
        assert server.file(model, "best", "best") == bytes([number]) * 300_000 + bytes([20])
    assert server.rows("PRAGMA journal_mode") == [("wal",)]


def test_killed_in_the_middle_of_an_upload_it_starts_again_clean(own_server):
    with own_server.client() as client:
        model = client.post("/v1/models", json={"meta": {"name": "x"}}).json()["data"]["id"]
        upload(client, model, b"first").raise_for_status()

        def pieces():
            yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
            for _ in range(4):
                yield bytes(1 << 20)
            own_server.kill()
            yield bytes(1 << 20)

        with pytest.raises(httpx.TransportError):
            client.post(
                f"/v1/models/{model}/upload",
                content=pieces(),
                headers={"content-type": "multipart/form-data; boundary=b"},
            )
    (own_server.data_dir / "files" / "left.part").write_bytes(b"half")
    own_server.start()
    assert own_server.file(model, "last", "last") == b"first"
    assert not list((own_server.data_dir / "files").glob("*.part"))
    assert own_server.rows("PRAGMA integrity_check") == [("ok",)]


def test_an_upload_that_breaks_off_leaves_no_trace(client, server, model):
    def pieces():
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
        yield bytes(1 << 20)
        raise KeyError("broken off")

    before = files_below(server.data_dir / "files")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    with pytest.raises(KeyError):
        client.post(f"/v1/models/{model}/upload", content=pieces(), headers=headers)
    assert client.get(f"/v1/models/{model}/files").json()["data"] == []
    assert files_below(server.data_dir / "files") == before
    assert "Traceback" not in server.log.read_text()


def test_files_go_when_nothing_needs_them_any_more(client, server, model):
    other = client.post("/v1/models", json={"meta": {"name": "other"}}).json()["data"]["id"]
    for one in (model, other):
        upload(client, one, b"shared content", isBest="true").raise_for_status()
    upload(client, model, b"newer content").raise_for_status()
    assert server.file(model, "best", "best") == b"shared content"
    client.delete(f"/v1/models/{model}", params={"hard": "True"}).raise_for_status()
    assert client.get(f"/v1/models/{model}").status_code == 404
    assert server.file(other, "last", "last") == b"shared content"
    client.delete(f"/v1/models/{other}", params={"hard": "False"}).raise_for_status()
    assert client.get(f"/v1/models/{other}").status_code == 404
    assert server.file(other, "last", "last") == b"shared content", "only hidden"
    hashes = {Path(path).name for path in files_below(server.data_dir / "files")}
    assert hashes == {sha for (sha,) in server.rows("SELECT DISTINCT sha256 FROM file")}


def test_it_ends_on_sigterm_and_says_where_it_listens(tmp_path):
    server = HubServer(tmp_path / "data").start()
    started = time.monotonic()
    assert server.stop() == 128 + signal.SIGTERM
    assert time.monotonic() - started < 10
    assert server.log.read_text().startswith(f"yolocore hub: {server.address}")


def test_a_port_that_is_taken_is_an_error(server, tmp_path):
    line = ["hub", "serve", "--port", str(server.port), "--data-dir", str(tmp_path / "d")]
    ended = subprocess.run(
        [sys.executable, "-m", "yolocore.cli", *line], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "cannot listen" in ended.stderr
    assert "no token yet" in ended.stderr


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    import sqlite3

    from yolocore.errors import DataError
    from yolocore_hub.server.database import Database

    path = tmp_path / "hub.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DataError, match="newer"):
        Database(path)


# pages ---------------------------------------------------------------------------------------------------------


def test_a_browser_has_to_sign_in(server, model):
    for path in ("/", f"/models/{model}", "/projects/tests"):
        answer = httpx.get(f"{server.address}{path}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert httpx.post(f"{server.address}/sign-in", data={"token": "yh_a_b"}).status_code == 401
    answer = httpx.post(f"{server.address}/sign-in", data={"token": f" {server.key}\n"})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert server.key not in cookie
    with server.browser() as browser:
        assert browser.get(f"/models/{model}").status_code == 200
        assert browser.get(f"/v1/models/{model}").status_code == 200
        for method, path in (
            ("POST", "/v1/models"),
            ("PATCH", f"/v1/models/{model}"),
            ("DELETE", f"/v1/models/{model}"),
        ):
            assert browser.request(method, path, json={}).status_code == 401, "a cookie may look, not write"
        browser.post("/sign-out")
        assert browser.get("/").status_code == 303


def test_revoking_a_token_signs_its_browsers_out(server):
    other = server.command("token", "create", "visitor").strip()
    with httpx.Client(base_url=server.address) as browser:
        assert browser.post("/sign-in", data={"token": other}).status_code == 303
        assert browser.get("/").status_code == 200
        server.command("token", "revoke", other.split("_")[1])
        assert browser.get("/").status_code == 303


def test_pages_need_nothing_from_elsewhere(server, client, model):
    client.post(f"/v1/models/{model}", json={"metrics": {"0": '{"train/box_loss": 1}'}}).raise_for_status()
    with server.browser() as browser:
        for path in ("/", f"/models/{model}", "/projects/tests", "/nothing-here"):
            answer = browser.get(path, headers={"accept": "text/html"})
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            tags = re.findall(r"<[a-z][^>]*>", answer.text)
            assert not [tag for tag in tags if re.search(r"\s(?:style|on\w+)=", re.sub(r'"[^"]*"', '""', tag))]
            for address in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text):
                assert address.startswith("/"), address
                assert browser.get(address).status_code in (200, 303, 405), address
            assert browser.post("/sign-in", data={"token": server.key}).status_code == 303  # /sign-out was among them
        style = browser.get(re.search(r'"(/static/hub.css[^"]*)"', answer.text)[1]).text
    assert "url(" not in style
    assert "@import" not in style


def test_the_live_part_is_sent_only_when_it_changed(server, client, model):
    with server.browser() as browser:
        first = browser.get(f"/models/{model}", headers={"x-part": "live"})
        assert "<html" not in first.text
        known = {"x-part": "live", "if-none-match": first.headers["etag"]}
        again = browser.get(f"/models/{model}", headers=known)
        assert (again.status_code, again.content) == (304, b"")
        client.post(f"/v1/models/{model}", json={"metrics": {"0": '{"train/box_loss": 1.25}'}}).raise_for_status()
        changed = browser.get(f"/models/{model}", headers=known)
        assert changed.status_code == 200
        assert "1.25" in changed.text


def test_the_first_page_is_fast_with_many_runs(server):
    hub = HubClient(server.address, server.key)
    entries = {epoch: json.dumps({"metrics/mAP50-95(B)": epoch / 300, "train/box_loss": 1.0}) for epoch in range(100)}
    for number in range(20):
        model = hub.create({"name": f"run {number}", "project": f"project {number % 4}"}, {"epochs": 100})
        hub.metrics(model, entries)
    hub.close()
    seconds = []
    with server.browser() as browser:
        for _ in range(5):
            started = time.monotonic()
            assert browser.get("/").status_code == 200
            seconds.append(time.monotonic() - started)
    assert min(seconds) < 0.5, seconds
