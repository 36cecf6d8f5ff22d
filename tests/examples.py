"""How often a property is tried when it asks for more or fewer examples than the others."""

from hypothesis import settings


def examples(full: int) -> settings:
    """`full` examples under the profile `full`; a seventh of them, at least 8, under `quick`."""
    is_quick = settings().max_examples < 100
    return settings(max_examples=max(8, full // 7) if is_quick else full)
