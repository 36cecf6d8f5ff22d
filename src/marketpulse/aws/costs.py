"""What AWS bills for these objects, in words: prices change and differ by region, so none stands here."""

from collections.abc import Sequence

from marketpulse.aws.wanted import CRAWLER, QUERY, TABLE, WORKGROUP, Wanted


def cost_drivers(wanted: Sequence[Wanted]) -> list[str]:
    """One line for each thing that is paid by use; what is free of charge in itself is said too."""
    kinds = {one.kind for one in wanted}
    said = ["S3: the bytes stored, by the month, and each request; many small objects cost requests, not bytes"]
    if TABLE in kinds:
        said.append("Glue catalogue: tables and partitions beyond a free number, and requests to it")
    for one in wanted:
        if one.kind == CRAWLER:
            when = one.fields["schedule"] or "only when it is started: it has no schedule"
            said.append(
                f"Glue crawler {one.name}: the time that each run takes, with a minimum per run; it runs {when}"
            )
        if one.kind == WORKGROUP:
            most = one.fields["bytes_scanned_max"]
            said.append(
                f"Athena: the bytes that a query reads, here at most {most:,} a query (aws.bytes_scanned_max); a WHERE on "
                "symbol and date reads less"
            )
            said.append(
                f"S3: the results of queries stay in {one.fields['output_url']} until a lifecycle rule removes them"
            )
    if QUERY in kinds:
        said.append("Athena named queries: nothing while they are only kept")
    return said
