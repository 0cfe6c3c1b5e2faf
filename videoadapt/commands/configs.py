"""List the packaged configs, or print one to start from.

videoadapt configs                                    all of them: name, data set, views, trainable, published number
videoadapt configs diving48                           those of a folder
videoadapt configs demo/loki_mini_8f > my.yaml        one, to start from
"""

import argparse

from videoadapt.errors import UserError
from videoadapt.report.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a config, a study, or a folder of them")


def run(args: argparse.Namespace) -> None:
    from videoadapt.config import STUDIES, find_config, packaged_configs

    names, folder = list(packaged_configs()), (args.name or "").removeprefix("configs/").rstrip("/")
    inside = [name for name in names if name.startswith(f"{folder}/")]
    if args.name and not inside:
        try:
            print(find_config(args.name).read_text(encoding="utf-8"), end="")
        except UnicodeDecodeError:
            raise UserError(f"{args.name}: is no config, its text is not UTF-8") from None
        return
    chosen = inside or names
    if configs := [name for name in chosen if not name.startswith(f"{STUDIES}/")]:
        header = ["config", "data set", "views", "trainable", "published (top-1 or top-1 / top-5, %)"]
        print(table(header, [_config_row(name) for name in configs]))
    if studies := [name for name in chosen if name.startswith(f"{STUDIES}/")]:
        print("\n" * bool(configs) + table(["study", "data sets", "methods"], [_study_row(name) for name in studies]))


def _config_row(name: str) -> tuple[str, ...]:
    from videoadapt.config import described_config

    about = described_config(name)
    return name, about.dataset, about.views, f"{about.trainable:,}", about.published


def _study_row(name: str) -> tuple[str, str, str]:
    from videoadapt.config import load_study

    study = load_study(name)
    return name, str(len(study.data)), str(len(study.methods))
