"""The table of this backend; the other files of this folder fill it."""

from __future__ import annotations

from polymodel.rules import RuleTable

TABLE = RuleTable("mxnet")
