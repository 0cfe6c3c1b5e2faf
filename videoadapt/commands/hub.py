"""Share checkpoints with a model card, as folders or on the Hub.

'push CHECKPOINT --to PLACE' writes the checkpoint, its config, a model card and, with --results, what the test found.
'pull PLACE --to DIR' copies such a folder. PLACE is a folder, or hf://owner/name on the Hugging Face Hub. Every command
that takes a CHECKPOINT also takes hf://owner/name[@revision].
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["push", "pull"])
    parser.add_argument("checkpoint", metavar="CHECKPOINT | PLACE")
    parser.add_argument("--to", required=True, metavar="PLACE", help="a folder, or hf://owner/name for push")
    parser.add_argument("--results", type=Path, metavar="FILE", help="results.json of the test, for the card")
    parser.add_argument("--private", action="store_true", help="if push makes a new repository")


def run(args: argparse.Namespace) -> None:
    from videoadapt.workflows.sharing import pull, push

    if args.action == "pull":
        pull(args.checkpoint, args.to)
    elif address := push(args.checkpoint, args.to, args.results, args.private):
        print(address)
        return
    print(f"{args.to}: {', '.join(sorted(path.name for path in Path(args.to).iterdir()))}")
