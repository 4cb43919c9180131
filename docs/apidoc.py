"""
What pydoctor has to be told about this code.

Two things, both so that every warning that is left is a fault. The fields of an ``attrs.define``
or ``attrs.frozen`` class are the parameters of its constructor. And a name in single backticks
may be a member of an enum, a parameter of the thing described or something of Python's, Twisted's
or zope's own; the last two are not linked, because nothing is fetched while the manual is built,
but they must exist.
"""

from __future__ import annotations

import ast
import builtins
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydoctor import astutils, extensions, linker, model

ATTRS_DECORATORS = frozenset(
    f"{package}.{name}"
    for package in ("attr", "attrs")
    for name in ("define", "frozen", "mutable")
)
FOREIGN_PACKAGES = frozenset({"twisted", "zope", "attrs", "automat", "construct", "hypothesis"})


class FieldVisitor(extensions.ModuleVisitorExt):
    """Notes for each class that attrs completes which fields its constructor takes."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:  # noqa: N802 - pydoctor's spelling
        """Note the fields of *node*'s class."""
        cls = self.visitor.builder.current
        if not isinstance(cls, FieldsClass) or cls.name != node.name:
            return
        decorators = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
        names = {astutils.node2fullname(decorator, cls.module) for decorator in decorators}
        cls.auto_attribs = not names.isdisjoint(ATTRS_DECORATORS)
        cls.fields = dict(_fields(node)) if cls.auto_attribs else {}


class FieldsClass(extensions.ClassMixin, model.Class):
    """A class whose constructor may be made by attrs."""

    auto_attribs: bool
    fields: dict[str, ast.expr]

    @property
    def constructor_params(self) -> Mapping[str, ast.expr | None]:
        """The constructor's parameters: those of a written one, or else the fields."""
        if not self.auto_attribs or "__init__" in self.contents:
            return super().constructor_params
        parameters: dict[str, ast.expr | None] = {}
        for cls in reversed(self.mro()):
            parameters.update(cls.fields)
        return parameters


class Linker(linker._EpydocLinker):  # noqa: SLF001 - pydoctor offers no public seam
    """Resolves names as pydoctor does, and lets known names pass that have no page here."""

    def _resolve_identifier_xref(self, identifier: str, lineno: int) -> str | model.Documentable:
        if self._is_parameter(identifier) or _is_foreign(self.obj.expandName(identifier)):
            # What link_xref() takes for "print it without a link".
            raise LookupError(identifier)
        member = self._find_member(identifier)
        return member or super()._resolve_identifier_xref(identifier, lineno)

    def _find_member(self, identifier: str) -> model.Documentable | None:
        """Find the enum member that a name in capitals means, one of its own module first."""
        if not identifier.isupper():
            return None
        members = [
            cls.contents[identifier]
            for cls in self.obj.system.objectsOfType(model.Class)
            if identifier in cls.contents
        ]
        own = [member for member in members if member.module is self.obj.module]
        return next(iter(own + members), None)

    def _is_parameter(self, identifier: str) -> bool:
        if isinstance(self.obj, model.Function):
            return identifier in self.obj.annotations
        return isinstance(self.obj, model.Class) and identifier in self.obj.constructor_params


class LinkedDocumentable(extensions.DocumentableMixin, extensions.PackageMixin):
    """Anything with a docstring."""

    @property
    def docstring_linker(self) -> linker.DocstringLinker:
        """The linker of this object, made once."""
        if self._linker is None:
            self._linker = Linker(self)
        return self._linker


class System(model.System):
    """pydoctor with the two additions of this file."""

    custom_extensions: ClassVar[list[str]] = [__name__]


def setup_pydoctor_extension(registrar: extensions.ExtRegistrar) -> None:
    """
    Add the two (called by pydoctor).

    :param registrar: Where pydoctor collects extensions.
    """
    registrar.register_astbuilder_visitor(FieldVisitor)
    registrar.register_mixin(FieldsClass, LinkedDocumentable)


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """
    Read the fields that a class adds to those of its bases.

    :param node: A class that attrs completes.
    :returns: For each field its name in the constructor and its annotation.
    """
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if ast.unparse(statement.annotation).startswith("ClassVar"):
            continue
        options = {
            keyword.arg: keyword.value.value
            for keyword in getattr(statement.value, "keywords", ())
            if isinstance(keyword.value, ast.Constant)
        }
        if options.get("init", True):
            yield options.get("alias", statement.target.id.lstrip("_")), statement.annotation


def _is_foreign(full_name: str) -> bool:
    """
    Say whether a name exists outside of atbus.

    :param full_name: A dotted name, as imports make it.
    :returns: True for a builtin, and for what a known package or the standard library has.
    """
    if hasattr(builtins, full_name.partition(".")[0]):
        full_name = f"builtins.{full_name}"
    root = full_name.partition(".")[0]
    if root not in FOREIGN_PACKAGES and root not in sys.stdlib_module_names:
        return False
    try:
        pkgutil.resolve_name(full_name)
    except (ImportError, AttributeError, ValueError):
        return False
    return True
