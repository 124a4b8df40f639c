"""scripts/get-data: cache, mirror, download, checksum, and what is left behind when something goes wrong."""

import hashlib
import unittest

from sandbox import ROOT, SandboxTest, files_in

SCRIPT = ROOT / "scripts" / "get-data"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
CONTENT = b"First Speaker:\nThis stands for the real text.\n"

# A curl that writes what the test wants, and notes that it was called.
CURL = """
echo called >>"$CURL_LOG"
while [ $# -gt 0 ]; do [ "$1" != --output ] || out=$2; shift; done
[ -z "${CURL_SAYS:-}" ] || printf '%s\n' "$CURL_SAYS" >&2
[ -z "${CURL_BODY:-}" ] || cat "$CURL_BODY" >"$out"
exit "${CURL_CODE:-0}"
"""


class GetData(SandboxTest):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / "the cache"
        self.target = self.cache / "tinyshakespeare.txt"
        self.log = self.folder / "curl.log"
        self.stand_in("curl", CURL)
        self.environment.update(UNROLL_CACHE=str(self.cache), CURL_LOG=str(self.log), CURL_CODE="6")
        # The real text is not at hand here: a copy of the script expects the checksum of a small one.
        self.project = self.copy_project()
        self.script = self.project / "scripts" / "get-data"
        text = self.script.read_text()
        self.assertEqual(text.count(SHA256), 1)
        self.script.write_text(text.replace(SHA256, hashlib.sha256(CONTENT).hexdigest()))

    def mirror(self, content):
        path = self.folder / "a mirror" / "tinyshakespeare" / "input.txt"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path.parents[1]

    def test_list_names_the_data_sets(self):
        result = self.run_script(SCRIPT, "--list")
        self.assertEqual(result.returncode, 0)
        self.assertIn("tinyshakespeare\t1115394 bytes\tpublic domain\thttps://", result.stdout)

    def test_wrong_use(self):
        for arguments in [(), ("nonesuch",), ("",), ("two", "names")]:
            result = self.run_script(SCRIPT, *arguments)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertEqual(result.stdout, "")
        self.assert_one_line(self.run_script(SCRIPT, "nonesuch").stderr)

    def test_mirror_fills_the_cache_without_the_network(self):
        result = self.run_script(self.script, "tinyshakespeare", UNROLL_DATA_MIRROR=self.mirror(CONTENT))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout, f"{self.target}\n")
        self.assertEqual(self.target.read_bytes(), CONTENT)
        self.assertEqual(files_in(self.cache), ["tinyshakespeare.txt"])
        self.assertFalse(self.log.exists())

    def test_cache_is_used_first(self):
        self.cache.mkdir()
        self.target.write_bytes(CONTENT)
        result = self.run_script(self.script, "tinyshakespeare", UNROLL_DATA_MIRROR=self.folder / "absent")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, f"{self.target}\n", ""))
        self.assertFalse(self.log.exists())

    def test_cache_in_the_home_folder_by_default(self):
        del self.environment["UNROLL_CACHE"]
        result = self.run_script(self.script, "tinyshakespeare", UNROLL_DATA_MIRROR=self.mirror(CONTENT))
        self.assertEqual(result.stdout, f"{self.folder}/home/.cache/unroll/tinyshakespeare.txt\n")

    def test_spoilt_cache_is_replaced(self):
        self.cache.mkdir()
        self.target.write_bytes(b"spoilt")
        result = self.run_script(self.script, "tinyshakespeare", UNROLL_DATA_MIRROR=self.mirror(CONTENT))
        self.assertEqual(result.returncode, 0)
        self.assert_one_line(result.stderr)
        self.assertEqual(self.target.read_bytes(), CONTENT)

    def test_download(self):
        body = self.folder / "body"
        body.write_bytes(CONTENT)
        result = self.run_script(self.script, "tinyshakespeare", CURL_CODE=0, CURL_BODY=body)
        self.assertEqual((result.returncode, result.stdout), (0, f"{self.target}\n"))
        self.assertIn("downloading", result.stderr)
        self.assertEqual(self.target.read_bytes(), CONTENT)

    def test_spoilt_mirror_gives_way_to_the_download(self):
        body = self.folder / "body"
        body.write_bytes(CONTENT)
        result = self.run_script(
            self.script, "tinyshakespeare", CURL_CODE=0, CURL_BODY=body, UNROLL_DATA_MIRROR=self.mirror(b"spoilt")
        )
        self.assertEqual(result.returncode, 0)
        self.assertIn("it is not used", result.stderr)
        self.assertEqual(self.target.read_bytes(), CONTENT)

    def test_download_with_a_wrong_checksum_keeps_nothing(self):
        body = self.folder / "body"
        body.write_bytes(b"a page that asks for a password")
        result = self.run_script(self.script, "tinyshakespeare", CURL_CODE=0, CURL_BODY=body)
        self.assertEqual((result.returncode, result.stdout), (4, ""))
        self.assertIn("checksum", result.stderr)
        self.assertEqual(files_in(self.cache), [])

    def test_no_network(self):
        body = self.folder / "body"
        body.write_bytes(CONTENT[:10])
        result = self.run_script(self.script, "tinyshakespeare", CURL_CODE=28, CURL_BODY=body)
        self.assertEqual((result.returncode, result.stdout), (3, ""))
        self.assertIn("could not be downloaded", result.stderr)
        self.assertEqual(files_in(self.cache), [])

    def test_why_a_download_failed_is_said_in_one_line(self):
        # As curl 7.88 says it with --show-error; without, it says nothing.
        self.stand_in("curl", '[[ " $* " == *" --show-error "* ]] || exec 2>/dev/null\n' + CURL)
        for code, says, reason in [
            (6, "curl: (6) Could not resolve host: example.org", "Could not resolve host: example.org"),
            (22, "curl: (22) The requested URL returned error: 404", "The requested URL returned error: 404"),
            (60, "curl: (60) SSL certificate problem: unable to get local issuer certificate\nMore details here: …\n\ncurl failed",
             "SSL certificate problem: unable to get local issuer certificate"),
        ]:
            result = self.run_script(self.script, "tinyshakespeare", CURL_CODE=code, CURL_SAYS=says)
            self.assertEqual((result.returncode, result.stdout), (3, ""))
            beginning, failure = result.stderr.splitlines()
            self.assertIn("downloading", beginning)
            self.assertTrue(failure.endswith(f"input.txt: {reason}"), failure)

    def test_unwritable_cache(self):
        in_the_way = self.folder / "a file"
        in_the_way.write_text("kept")
        result = self.run_script(
            self.script, "tinyshakespeare", UNROLL_CACHE=in_the_way, UNROLL_DATA_MIRROR=self.mirror(CONTENT)
        )
        self.assertEqual((result.returncode, result.stdout), (5, ""))
        self.assert_one_line(result.stderr)
        self.assertIn("cannot write to the cache folder", result.stderr)
        self.assertEqual(in_the_way.read_text(), "kept")

    def test_full_disk(self):
        # As when the disk fills: the copy fails half way.
        self.stand_in("cat", "printf x; exit 1")
        result = self.run_script(self.script, "tinyshakespeare", UNROLL_DATA_MIRROR=self.mirror(CONTENT))
        self.assertEqual((result.returncode, result.stdout), (5, ""))
        self.assertEqual(files_in(self.cache), [])


if __name__ == "__main__":
    unittest.main()
