"""Options of `train` for single kinds: values given by the user, which replace those in the kind's settings. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from vqcodec.neural.refiner import RefinerSettings
    from vqcodec.neural.token import TokenSettings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RefinerOptions:
    """Weights of the losses; None for the default of RefinerSettings."""

    lambda_r: float | None = None
    lambda_p: float | None = None
    lambda_a: float | None = None
    lambda_c: float | None = None
    adaptive: bool = False
    lambda_t: float | None = None

    def applied(self, settings: RefinerSettings) -> RefinerSettings:
        """The settings with the options that are given."""
        return replace(
            settings,
            lambda_r=or_default(self.lambda_r, settings.lambda_r),
            lambda_p=or_default(self.lambda_p, settings.lambda_p),
            lambda_a=or_default(self.lambda_a, settings.lambda_a),
            lambda_c=or_default(self.lambda_c, settings.lambda_c),
            adaptive=self.adaptive,
            lambda_t=or_default(self.lambda_t, settings.lambda_t),
        )


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """Options of the command; None for the default of TokenSettings. `cell`, `codewords` and `cosine` are for new models only."""

    lambda_r: float | None = None
    lambda_p: float | None = None
    lambda_a: float | None = None
    lambda_c: float | None = None
    adaptive: bool = False
    cell: int | None = None
    codewords: int | None = None
    cosine: bool = False
    batch: int | None = None
    beta: float | None = None

    def applied(self, settings: TokenSettings) -> TokenSettings:
        """The settings with the options that are given."""
        return replace(
            settings,
            lambda_r=or_default(self.lambda_r, settings.lambda_r),
            lambda_p=or_default(self.lambda_p, settings.lambda_p),
            lambda_a=or_default(self.lambda_a, settings.lambda_a),
            lambda_c=or_default(self.lambda_c, settings.lambda_c),
            adaptive=self.adaptive,
            cell=or_default(self.cell, settings.cell),
            codewords=or_default(self.codewords, settings.codewords),
            cosine=self.cosine,
            batch=or_default(self.batch, settings.batch),
            beta=or_default(self.beta, settings.beta),
        )


NO_REFINER_OPTIONS: Final = RefinerOptions()
NO_TOKEN_OPTIONS: Final = TokenOptions()


def or_default(value: T | None, default: T) -> T:
    """`value`, or `default` if it is None."""
    return default if value is None else value


def command_options(options: DataclassInstance) -> dict[str, object]:
    """The options of a kind that were given, by their names on the command line: neither None nor False."""
    values = {field.name.replace("_", "-"): getattr(options, field.name) for field in fields(options)}
    return {name: value for name, value in values.items() if value is not None and value is not False}
