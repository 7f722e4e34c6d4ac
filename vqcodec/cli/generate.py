"""The command that generates pictures."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.cli.options import DEFAULT_TEMPERATURE, Force, Json, Prior, Quiet, Seed, Temperature, finite, path_option
from vqcodec.cli.printing import progress_line
from vqcodec.cli.single import check_json, check_picture_name, report_file
from vqcodec.runtime.blas import begin_with_one_thread


def generate(
    prior: Prior,
    output: Annotated[
        Path,
        path_option("-o", "--output", metavar="OUT", help="Write one sheet of all pictures or, if OUT has no suffix, a folder."),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10000, metavar="N", help="Generate N pictures.")] = 64,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="L", help="Generate pictures of this class. [default: all in turn]", show_default=False),
    ] = None,
    temperature: Temperature = DEFAULT_TEMPERATURE,
    guidance: Annotated[
        float,
        typer.Option(
            "--guidance",
            callback=finite,
            min=0,
            max=100,
            metavar="G",
            help="Steer towards the class this strongly; 0 turns guidance off.",
        ),
    ] = 1.0,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate pictures like those that a token prior was trained on."""
    check_json(as_json, output)
    check_picture_name("generate", output)
    begin_with_one_thread()
    from vqcodec.io.restore import Generation

    with progress_line(quiet=quiet):
        generation = Generation(model=prior, label=label, temperature=temperature, guidance=guidance, seed=seed)
        done = generation.write(output, count, overwrite=force)
    facts = {"count": count, "generate_s": done.seconds}
    report_file(None, output, done, facts, as_json=as_json, quiet=quiet)
