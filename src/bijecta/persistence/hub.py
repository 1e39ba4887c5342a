"""Models as folders that model hubs understand: the model file, a config.json and a model card."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bijecta.data import write_atomically
from bijecta.distributions import Distribution
from bijecta.errors import InputError, require
from bijecta.persistence.files import load, read_header, save
from bijecta.persistence.model_card import model_card
from bijecta.persistence.tabular import MODEL, model_path

CONFIG, CARD = "config.json", "README.md"

Source = Distribution | str | os.PathLike[str]
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_Result = TypeVar("_Result")


def save_pretrained(
    model: Source, folder: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None, name: str | None = None
) -> None:
    """Write a model as a folder for a model hub: ``model.safetensors``, ``config.json`` and ``README.md``.

    Args:
        model: a flow that a recipe built; or a model file or run folder of ``bijecta fit``, whose recorded facts are
            kept. The path to the training data is shortened to its name.
        folder: where to write; made if it does not exist. Other files in it are left alone.
        metadata: JSON-able facts to record with a flow, such as schema and metrics; a file brings its own.
        name: where the model will be found ("owner/name"), for the example in the card.

    Raises:
        InputError: the flow was built by hand, there is no such model, or metadata is given for a file.
        FileFormatError: the model file is truncated or foreign.

    Example:
        >>> import os
        >>> from bijecta.flows import realnvp
        >>> from bijecta.persistence import save_pretrained
        >>> save_pretrained(realnvp(2), "my-flow", metadata={"data": "moons"})
        >>> sorted(os.listdir("my-flow"))
        ['README.md', 'config.json', 'model.safetensors']
    """
    flow, facts = _with_facts(model, metadata)
    if getattr(flow, "recipe", None) is None:
        raise InputError("save_pretrained expects a flow that a recipe built: only its code can build another one.")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    save(flow, target / MODEL, metadata=facts)
    header = read_header(target / MODEL)
    config = {"library_name": "bijecta", "format": header["format"], "recipe": header["recipe"]}
    config |= {key: facts[key] for key in ("schema", "context", "versions") if key in facts}
    _write(target / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    _write(target / CARD, model_card(header, name=name))


def from_pretrained(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Distribution:
    """Load a model from a folder, or from the Hugging Face Hub.

    Only ``config.json`` and ``model.safetensors`` are fetched, and only the latter is read: no code of the repository
    runs, and nothing is unpickled.

    Args:
        name: a folder that `save_pretrained` or ``bijecta fit`` wrote, or "owner/name" on the Hub.
        revision: branch, tag or commit; a commit pins the weights.
        cache_dir: where downloads are kept.
        token: for private repositories; left out, that of ``hf auth login``.
        local_files_only: use what was downloaded before, without asking the network.

    Returns:
        The flow, in eval mode.

    Raises:
        InputError: there is no such folder or repository, or it cannot be reached.
        FileFormatError: the file is truncated, foreign or hostile.
        MissingDependencyError: the package huggingface_hub is needed, for a name on the Hub.

    Example:
        >>> from bijecta.flows import realnvp
        >>> from bijecta.persistence import from_pretrained, save_pretrained
        >>> save_pretrained(realnvp(2), "my-flow")
        >>> from_pretrained("my-flow").event_shape
        (2,)
    """
    if Path(name).is_dir():
        return load(model_path(name))
    repository = _checked(os.fspath(name))
    hub = require("huggingface_hub", extra="hub", purpose="Loading from the Hugging Face Hub")
    folder = _reaching(
        repository,
        lambda: hub.snapshot_download(
            repository,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            allow_patterns=[CONFIG, MODEL],
        ),
    )
    return load(model_path(folder))


def push_to_hub(
    model: Source,
    name: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    message: str = "Upload a bijecta model",
) -> str:
    """Upload a model to the Hugging Face Hub, as `save_pretrained` writes it.

    Args:
        model: a flow that a recipe built, a model file, or a run folder of ``bijecta fit``.
        name: the repository, "owner/name"; made if it does not exist.
        metadata: facts to record with a flow; a file brings its own.
        private: whether a new repository is private.
        revision: the branch to write to (default: main).
        token: with the right to write; left out, that of ``hf auth login``.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        InputError: the name is not "owner/name", the model can't be saved, or the Hub refuses.
        MissingDependencyError: the package huggingface_hub is not installed.

    Example:
        >>> from bijecta.errors import InputError
        >>> from bijecta.flows import realnvp
        >>> from bijecta.persistence import push_to_hub
        >>> try:
        ...     push_to_hub(realnvp(2), "no owner")
        ... except InputError as error:
        ...     print(error)
        Expected a folder that exists, or "owner/name" of the Hugging Face Hub; got 'no owner'.
    """
    repository = _checked(name)
    hub = require("huggingface_hub", extra="hub", purpose="Uploading to the Hugging Face Hub")
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, metadata=metadata, name=repository)
        api = hub.HfApi(token=token, library_name="bijecta")
        _reaching(repository, lambda: api.create_repo(repository, private=private, exist_ok=True))
        upload = _reaching(
            repository,
            lambda: api.upload_folder(
                repo_id=repository, folder_path=folder, revision=revision, commit_message=message
            ),
        )
    return str(upload.commit_url)


def _with_facts(model: Source, metadata: Mapping[str, Any] | None) -> tuple[Distribution, dict[str, Any]]:
    if isinstance(model, Distribution):
        return model, dict(metadata or {})
    if metadata is not None:
        raise InputError("A model file brings its own metadata. Load it, and save the flow with yours.")
    facts = dict(read_header(model_path(model))["metadata"])
    settings = facts.get("settings")
    if isinstance(settings, dict) and "data" in settings:
        # Folders on the machine that trained are nobody's business.
        facts["settings"] = settings | {"data": Path(str(settings["data"])).name}
    return load(model_path(model)), facts


def _checked(name: str) -> str:
    if not _HUB_NAME.fullmatch(name):
        raise InputError(f'Expected a folder that exists, or "owner/name" of the Hugging Face Hub; got {name!r}.')
    return name


def _reaching(repository: str, call: Callable[[], _Result]) -> _Result:
    """Call the Hub; what can go wrong there has many classes, and one cure: read what it says."""
    try:
        return call()
    except Exception as error:
        raise InputError(
            f"The Hugging Face Hub did not do it for {repository}: {str(error).strip() or type(error).__name__}\n"
            "Check the name, the network and, for private repositories, the token (hf auth login)."
        ) from error


def _write(path: Path, text: str) -> None:
    data = text.encode()
    write_atomically(path, lambda file: file.write(data))
