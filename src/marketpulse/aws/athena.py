"""Athena: the workgroup that bounds what a query reads, and the queries that are kept in it by name."""

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from marketpulse.aws.account import Place, dictionary
from marketpulse.aws.objects import Found, is_ours, nothing_if, pages
from marketpulse.aws.wanted import Wanted

_MISSING = "InvalidRequestException"  # Athena says no more than that
_MARK = " [managed-by marketpulse]"  # a query has no tags: this ends its description


class Workgroups:
    """objects.Objects for one workgroup."""

    def __init__(self, athena: Any, place: Place) -> None:
        self._athena, self._place = athena, place

    def found(self, names: Sequence[str]) -> dict[str, Found]:
        there = {}
        for name in names:
            try:
                said = self._athena.get_work_group(WorkGroup=name).get("WorkGroup")
            except ClientError as error:
                nothing_if(error, _MISSING)
                continue
            if not said:
                continue
            tags = self._tags(name)
            there[name] = Found(True, _fields(said.get("Configuration", {}), tags)) if is_ours(tags) else Found(False)
        return there

    def create(self, wanted: Wanted) -> None:
        self._athena.create_work_group(
            Name=wanted.name,
            Description="MarketPulse's queries",
            Configuration=_configuration(wanted),
            Tags=[{"Key": key, "Value": value} for key, value in wanted.fields["tags"].items()],
        )

    def update(self, wanted: Wanted, found: Found) -> None:
        new = _configuration(wanted)
        self._athena.update_work_group(
            WorkGroup=wanted.name,
            ConfigurationUpdates={"ResultConfigurationUpdates": new.pop("ResultConfiguration"), **new},
        )
        tags, arn = wanted.fields["tags"], self._arn(wanted.name)
        self._athena.tag_resource(ResourceARN=arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
        if gone := sorted(set(found.fields["tags"]) - set(tags)):
            self._athena.untag_resource(ResourceARN=arn, TagKeys=gone)

    def delete(self, name: str, found: Found) -> None:  # noqa: ARG002  (the port names it)
        """With the history of its queries; results in the bucket stay."""
        self._athena.delete_work_group(WorkGroup=name, RecursiveDeleteOption=True)

    def blocked(self, name: str) -> str | None:
        others = [q["Name"] for q in named_queries(self._athena, name) if not _is_our_query(q)]
        return f"it holds queries that are not ours, such as {others[0]}" if others else None

    def _tags(self, name: str) -> dict[str, str]:
        try:
            return dictionary(list(pages(self._athena, "list_tags_for_resource", "Tags", ResourceARN=self._arn(name))))
        except ClientError as error:
            nothing_if(error, _MISSING)  # it never had any
            return {}

    def _arn(self, name: str) -> str:
        return self._place.arn("athena", f"workgroup/{name}")


class Queries:
    """objects.Objects for the named queries of one workgroup."""

    def __init__(self, athena: Any, workgroup: str) -> None:
        self._athena, self._workgroup = athena, workgroup

    def found(self, names: Sequence[str]) -> dict[str, Found]:
        there = {}
        for said in named_queries(self._athena, self._workgroup):
            if _is_our_query(said):
                there[said["Name"]] = Found(True, _query_fields(said), said["NamedQueryId"])
            elif said["Name"] in names:
                there.setdefault(said["Name"], Found(False))
        return there

    def create(self, wanted: Wanted) -> None:
        self._athena.create_named_query(
            Name=wanted.name,
            Description=wanted.fields["title"] + _MARK,
            Database=wanted.fields["database"],
            QueryString=wanted.fields["sql"],
            WorkGroup=self._workgroup,
        )

    def update(self, wanted: Wanted, found: Found) -> None:
        """A query's database cannot be changed: then it is made anew."""
        if found.fields["database"] != wanted.fields["database"]:
            self.create(wanted)
            self.delete(wanted.name, found)
            return
        self._athena.update_named_query(
            NamedQueryId=found.reference,
            Name=wanted.name,
            Description=wanted.fields["title"] + _MARK,
            QueryString=wanted.fields["sql"],
        )

    def delete(self, name: str, found: Found) -> None:  # noqa: ARG002  (the port names it)
        self._athena.delete_named_query(NamedQueryId=found.reference)

    def blocked(self, name: str) -> str | None:  # noqa: ARG002  (the port names it)
        return None


def named_queries(athena: Any, workgroup: str) -> list[dict[str, Any]]:
    """All queries that are kept in a workgroup; none when it is not there."""
    try:
        ids = list(pages(athena, "list_named_queries", "NamedQueryIds", WorkGroup=workgroup))
    except ClientError as error:
        nothing_if(error, _MISSING)
        return []
    return [athena.get_named_query(NamedQueryId=one)["NamedQuery"] for one in ids]


def _is_our_query(said: dict[str, Any]) -> bool:
    return str(said.get("Description") or "").endswith(_MARK)


def _query_fields(said: dict[str, Any]) -> dict[str, Any]:
    title = str(said["Description"]).removesuffix(_MARK)
    return {"title": title, "database": said.get("Database"), "sql": said.get("QueryString")}


def _configuration(wanted: Wanted) -> dict[str, Any]:
    return {
        "ResultConfiguration": {"OutputLocation": wanted.fields["output_url"]},
        "EnforceWorkGroupConfiguration": wanted.fields["enforced"],
        "BytesScannedCutoffPerQuery": wanted.fields["bytes_scanned_max"],
        "PublishCloudWatchMetricsEnabled": True,
    }


def _fields(configuration: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    return {
        "output_url": configuration.get("ResultConfiguration", {}).get("OutputLocation"),
        "bytes_scanned_max": configuration.get("BytesScannedCutoffPerQuery"),
        "enforced": configuration.get("EnforceWorkGroupConfiguration"),
        "tags": tags,
    }
