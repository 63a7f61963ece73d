"""The Hugging Face Hub: which commit a revision is, which files it has, and their bytes, range by range.

Names, headers and errors are huggingface_hub's business; this module turns its errors into sentences. It takes
most of a second to import, and is imported for `hf://` sources only.
"""

import threading
from collections.abc import Callable
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url, utils
from huggingface_hub.errors import HfHubHTTPError

from torpor.domain.fetching import FetchReason
from torpor.domain.hub import HubFile, HubSource
from torpor.prewarm.connection import CONNECT_SECONDS, Interruption
from torpor.prewarm.crew import Stopped
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.hubanswers import AskedHub, be_patient, explain_error
from torpor.prewarm.receiving import SILENCE_SECONDS
from torpor.settings.prewarm import PrewarmSettings

_TIMEOUT = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
_STALE = frozenset({401, 403, 404, 410})
_utils: Any = utils  # exports these names without saying so to type checkers


class Hub:
    """One hub with one token; its methods may be called from several threads."""

    def __init__(self, settings: PrewarmSettings) -> None:
        self.endpoint = settings.hub_endpoint
        self._token: str | bool = settings.hub_token or False
        self._attempts = settings.part_attempts
        self._api = HfApi(endpoint=self.endpoint, token=self._token, library_name="torpor")
        self._headers = _utils.build_hf_headers(token=self._token, library_name="torpor")
        self._locations: dict[tuple[str, str], str] = {}

    def resolve(self, source: HubSource) -> str:
        """Commit of a revision.

        Raises:
            FetchFailure: no such repository or revision, no right to it, or no answer.
        """
        info = self._ask(
            source, lambda: self._api.model_info(source.repo, revision=source.revision)
        )
        return self._check(str(info.sha))

    def list_files(self, source: HubSource, commit: str) -> list[HubFile]:
        """Every file of one commit with its size and content's name.

        Raises:
            FetchFailure: as `resolve`.
        """
        info = self._ask(
            source,
            lambda: self._api.model_info(source.repo, revision=commit, files_metadata=True),
        )
        return [self._describe(sibling) for sibling in info.siblings or []]

    def ask_access(self, source: HubSource, commit: str, file: HubFile) -> None:
        """Ask whether a file may be read: of a gated repository the list of files says nothing about that.

        Raises:
            FetchFailure: as `resolve`.
        """
        self._ask(source, lambda: self.locate(source, commit, file))

    def read_into(
        self,
        source: HubSource,
        commit: str,
        file: HubFile,
        offset: int,
        buffer: memoryview,
        moved: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        """Fill the buffer with the file's bytes from `offset`, in one request and without retries.

        The token goes to the hub only, never to where it sends us for a large file.

        Raises:
            Interruption: the answer did not come, not whole, or is not exactly this range.
            FetchFailure: no right to read the file.
        """
        if not buffer:
            return
        last = offset + len(buffer) - 1
        location = self.locate(source, commit, file)
        ours = location.startswith(self.endpoint + "/") and "/resolve/" in location
        headers = {"Range": f"bytes={offset}-{last}", "Accept-Encoding": "identity"}
        headers = {**self._headers, **headers} if ours else headers
        try:
            with _utils.get_session().stream(
                "GET", location, headers=headers, timeout=_TIMEOUT, follow_redirects=True
            ) as response:
                if response.status_code in _STALE and not ours:
                    self._locations.pop((commit, file.key), None)
                    raise Interruption(
                        f"{self.endpoint} gave an address of {file.key} that is no longer valid"
                    )
                _utils.hf_raise_for_status(response)
                given = response.headers.get("Content-Range", "")
                whole = response.status_code == 200 and offset == 0 and len(buffer) == file.size
                if not whole and given != f"bytes {offset}-{last}/{file.size}":
                    raise Interruption(
                        f"{self.endpoint} answered {response.status_code} with {given or 'no Content-Range'} "
                        f"to bytes {offset}-{last} of {file.size} of {source.repo}/{file.key}",
                        reason=FetchReason.CORRUPT,
                    )
                self._fill(file, response, buffer, moved, stop)
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            raise explain_error(self._asked(source), error) from error

    def _fill(
        self,
        file: HubFile,
        response: httpx2.Response,
        buffer: memoryview,
        moved: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        filled = 0
        for chunk in response.iter_raw():
            if stop.is_set():
                raise Stopped
            end = filled + len(chunk)
            if end > len(buffer):
                break
            buffer[filled:end] = chunk
            moved(len(chunk))
            filled = end
        else:
            end = filled
        if end != len(buffer):
            raise Interruption(
                f"{self.endpoint} sent {end} bytes of {file.key} instead of {len(buffer)}",
                reason=FetchReason.CORRUPT,
            )

    def locate(self, source: HubSource, commit: str, file: HubFile) -> str:
        """Where the bytes are: large files lie in a store that the hub gives a passing address of.

        Raises:
            FetchFailure: no right to read the file, or no answer.
        """
        known = self._locations.get((commit, file.key))
        if known is not None:
            return known
        url = hf_hub_url(source.repo, file.key, revision=commit, endpoint=self.endpoint)
        try:
            found = get_hf_file_metadata(
                url, token=self._token, timeout=SILENCE_SECONDS, endpoint=self.endpoint
            )
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            raise explain_error(self._asked(source), error) from error
        self._locations[commit, file.key] = found.location
        return found.location

    def _ask(self, source: HubSource, act: Callable[[], Any]) -> Any:
        """Ask the API, with a few tries."""

        def once() -> Any:
            try:
                return act()
            except (HfHubHTTPError, httpx2.HTTPError) as error:
                raise explain_error(self._asked(source), error) from error
            except (ValueError, TypeError, KeyError) as error:
                raise self._no_hub() from error

        return be_patient(once, min(3, self._attempts), threading.Event())

    def _check(self, commit: str) -> str:
        if len(commit) == 40 and all(digit in "0123456789abcdef" for digit in commit):
            return commit
        raise self._no_hub()

    def _describe(self, sibling: Any) -> HubFile:
        lfs: Any = sibling.lfs
        identity = f"sha256:{lfs.sha256}" if lfs is not None else f"blob:{sibling.blob_id}"
        size: int | None = lfs.size if lfs is not None else sibling.size
        if size is None or identity == "blob:None":
            raise self._no_hub()
        return HubFile(str(sibling.rfilename), int(size), identity)

    def _asked(self, source: HubSource) -> AskedHub:
        return AskedHub(self.endpoint, source, bool(self._token))

    def _no_hub(self) -> FetchFailure:
        return FetchFailure(
            FetchReason.UNREACHABLE,
            f"{self.endpoint} answered something that is not the hub's API: is TORPOR_HUB_ENDPOINT right?",
        )
