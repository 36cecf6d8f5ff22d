"""How often a property is tried when it asks for more or fewer examples than the others."""

from hypothesis import settings


def examples(full: int) -> settings:
    """`full` examples under the profile `full`; a tenth of them, at least 8 or a quarter of them, under `quick`."""
    is_quick = settings().max_examples < 100
    return settings(max_examples=max(min(8, full // 4), full // 10) if is_quick else full)
