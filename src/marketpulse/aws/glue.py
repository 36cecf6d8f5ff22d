"""Glue: the database, the tables of the archive's files, and the crawler that finds their new partitions."""

import json
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from marketpulse.aws import stock_data
from marketpulse.aws.account import Place
from marketpulse.aws.objects import Found, is_ours, nothing_if, pages
from marketpulse.aws.wanted import MARK, Wanted

_MISSING = "EntityNotFoundException"
_VIEW = "VIRTUAL_VIEW"
_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        "Parameters": {"serialization.format": "1"},
    },
}
_PARAMETERS = {"EXTERNAL": "TRUE", "classification": "parquet", **MARK}
# A crawler over tables of the catalogue may only log what it finds changed, and adds partitions as the table says.
_POLICY = {"UpdateBehavior": "LOG", "DeleteBehavior": "LOG"}
_CONFIGURATION = json.dumps(
    {"Version": 1.0, "CrawlerOutput": {"Partitions": {"AddOrUpdateBehavior": "InheritFromTable"}}}
)


class Databases:
    """objects.Objects for one database."""

    def __init__(self, glue: Any) -> None:
        self._glue = glue

    def found(self, names: Sequence[str]) -> dict[str, Found]:
        there = {}
        for name in names:
            try:
                said = self._glue.get_database(Name=name)["Database"]
            except ClientError as error:
                nothing_if(error, _MISSING)
                continue
            ours = is_ours(said.get("Parameters"))
            there[name] = Found(ours, {"description": said.get("Description")} if ours else {})
        return there

    def create(self, wanted: Wanted) -> None:
        self._glue.create_database(DatabaseInput=self._input(wanted))

    def update(self, wanted: Wanted, found: Found) -> None:  # noqa: ARG002  (the port names it)
        self._glue.update_database(Name=wanted.name, DatabaseInput=self._input(wanted))

    def delete(self, name: str, found: Found) -> None:  # noqa: ARG002  (the port names it)
        self._glue.delete_database(Name=name)

    def blocked(self, name: str) -> str | None:
        others = [
            table["Name"]
            for table in pages(self._glue, "get_tables", "TableList", DatabaseName=name)
            if not is_ours(table.get("Parameters"))
        ]
        return f"it holds tables that are not ours, such as {others[0]}" if others else None

    @staticmethod
    def _input(wanted: Wanted) -> dict[str, Any]:
        return {"Name": wanted.name, "Description": wanted.fields["description"], "Parameters": MARK}


class Tables:
    """objects.Objects for the tables of one database."""

    _views = False

    def __init__(self, glue: Any, database: str) -> None:
        self._glue, self._database = glue, database

    def found(self, names: Sequence[str]) -> dict[str, Found]:
        try:
            tables = list(pages(self._glue, "get_tables", "TableList", DatabaseName=self._database))
        except ClientError as error:
            nothing_if(error, _MISSING)
            return {}
        there = {}
        for said in tables:
            ours = is_ours(said.get("Parameters")) and (said.get("TableType") == _VIEW) is self._views
            if ours:
                there[said["Name"]] = Found(ours, self._fields(said), said.get("Parameters", {}))
            elif said["Name"] in names:
                there[said["Name"]] = Found(ours)
        return there

    def create(self, wanted: Wanted) -> None:
        self._glue.create_table(DatabaseName=self._database, TableInput=self._input(wanted, {}))

    def update(self, wanted: Wanted, found: Found) -> None:
        self._glue.update_table(DatabaseName=self._database, TableInput=self._input(wanted, found.reference))

    def delete(self, name: str, found: Found) -> None:  # noqa: ARG002  (the port names it)
        """The entry in the catalogue: the files stay."""
        self._glue.delete_table(DatabaseName=self._database, Name=name)

    def blocked(self, name: str) -> str | None:  # noqa: ARG002  (the port names it)
        return None

    def _input(self, wanted: Wanted, parameters: dict[str, str]) -> dict[str, Any]:
        return _table_input(wanted, parameters)

    def _fields(self, said: dict[str, Any]) -> dict[str, Any]:
        return _table_fields(said)


class Views(Tables):
    """objects.Objects for the views of one database: Glue keeps them among the tables."""

    _views = True

    def _input(self, wanted: Wanted, parameters: dict[str, str]) -> dict[str, Any]:  # noqa: ARG002  (a view has none but ours)
        return stock_data.table_input(wanted.name, self._database, wanted.fields["sql"], MARK)

    def _fields(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"sql": stock_data.stored_sql(said)}


class Crawlers:
    """objects.Objects for one crawler."""

    def __init__(self, glue: Any, place: Place) -> None:
        self._glue, self._place = glue, place

    def found(self, names: Sequence[str]) -> dict[str, Found]:
        there = {}
        for name in names:
            try:
                said = self._glue.get_crawler(Name=name)["Crawler"]
            except ClientError as error:
                nothing_if(error, _MISSING)
                continue
            tags = self._glue.get_tags(ResourceArn=self._arn(name)).get("Tags", {})
            there[name] = Found(True, _crawler_fields(said, tags)) if is_ours(tags) else Found(False)
        return there

    def create(self, wanted: Wanted) -> None:
        self._glue.create_crawler(**_crawler_input(wanted), Tags=wanted.fields["tags"])

    def update(self, wanted: Wanted, found: Found) -> None:
        self._glue.update_crawler(**_crawler_input(wanted))
        tags = wanted.fields["tags"]
        arn = self._arn(wanted.name)
        self._glue.tag_resource(ResourceArn=arn, TagsToAdd=tags)
        if gone := sorted(set(found.fields["tags"]) - set(tags)):
            self._glue.untag_resource(ResourceArn=arn, TagsToRemove=gone)

    def delete(self, name: str, found: Found) -> None:  # noqa: ARG002  (the port names it)
        self._glue.delete_crawler(Name=name)

    def blocked(self, name: str) -> str | None:
        state = self._glue.get_crawler(Name=name)["Crawler"].get("State")
        return "it is running: stop it, or wait" if state in ("RUNNING", "STOPPING") else None

    def _arn(self, name: str) -> str:
        return self._place.arn("glue", f"crawler/{name}")


def _table_input(wanted: Wanted, parameters: dict[str, str]) -> dict[str, Any]:
    """What a crawler has noted in `parameters` stays."""
    fields = wanted.fields
    return {
        "Name": wanted.name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {**parameters, **_PARAMETERS},
        "PartitionKeys": _columns(fields["partition_keys"]),
        "StorageDescriptor": {"Columns": _columns(fields["columns"]), "Location": fields["location"], **_PARQUET},
    }


def _table_fields(said: dict[str, Any]) -> dict[str, Any]:
    storage = said.get("StorageDescriptor", {})
    return {
        "location": storage.get("Location"),
        "columns": {column["Name"]: column.get("Type") for column in storage.get("Columns", [])},
        "partition_keys": {key["Name"]: key.get("Type") for key in said.get("PartitionKeys", [])},
    }


def _columns(types: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Type": kind} for name, kind in types.items()]


def _crawler_input(wanted: Wanted) -> dict[str, Any]:
    fields = wanted.fields
    return {
        "Name": wanted.name,
        "Role": fields["role"],
        "Targets": {"CatalogTargets": [{"DatabaseName": fields["database"], "Tables": fields["tables"]}]},
        "SchemaChangePolicy": _POLICY,
        "Configuration": _CONFIGURATION,
        "Schedule": fields["schedule"] or "",
    }


def _crawler_fields(said: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    targets = said.get("Targets", {}).get("CatalogTargets") or [{}]
    return {
        "role": said.get("Role"),
        "database": targets[0].get("DatabaseName"),
        "tables": targets[0].get("Tables", []),
        "schedule": (said.get("Schedule") or {}).get("ScheduleExpression") or None,
        "tags": tags,
    }
