"""Write scikit-learn's handwritten digits as picture files with lists: python tools/digits.py [--out DIR]

For the study of all methods on real images: python tools/study.py configs/studies/digits.yaml
"""

from pathlib import Path

from videoadapt import cli
from videoadapt.atomic import writable_folder
from videoadapt.demo.digits import write_digits


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/digits/data"), metavar="DIR")
    args = parser.parse_args()
    write_digits(writable_folder(str(args.out), "--out"))
    print(f"1,500 + 297 pictures written to {args.out}")


if __name__ == "__main__":
    cli.run(main)
