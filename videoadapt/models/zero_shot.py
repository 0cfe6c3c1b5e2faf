"""Zero-shot classification: the image tower against the text tower, nothing trained."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videoadapt.errors import UserError
from videoadapt.models.activation import uses_quickgelu
from videoadapt.models.classifier import Classifier
from videoadapt.models.pretrained import open_clip_file, open_clip_name, read_state_dict
from videoadapt.models.weight_file import check_numbers, of_image_model
from videoadapt.precision import without_autocast


class ZeroShot(nn.Module):
    """``logits = scale * cos(video, class)``; a video is the mean of its frames' unit embeddings.

    Args:
        image: a classifier without a head, whose features (b t d) meet the text in the embedding space.
        projection: of the image tower into that space, (d e).
        classes: unit text embeddings, (e k).
        scale: CLIP's learned logit scale.
    """

    projection: Tensor
    classes: Tensor

    def __init__(self, image: Classifier, projection: Tensor, classes: Tensor, scale: float) -> None:
        super().__init__()
        self.image, self.scale = image, scale
        self.register_buffer("projection", projection)
        self.register_buffer("classes", classes)

    def forward(self, x: Tensor) -> Tensor:
        """Clips (b c t h w) or images (b c h w) to logits (b k)."""
        return self._compared(self.image.forward_features(x))

    def embed(self, frames: Tensor) -> Tensor:
        """As a ``Classifier``."""
        return self.image.embed(frames)

    def classify(self, embedded: Tensor) -> Tensor:
        """As a ``Classifier``."""
        return self._compared(self.image.features(embedded))

    def _compared(self, features: Tensor) -> Tensor:
        features = features.float()
        with without_autocast(features.device.type):  # the classes lie close: half precision ties them
            frames = F.normalize(features @ self.projection, dim=-1)
            return self.scale * F.normalize(frames.mean(1), dim=-1) @ self.classes


def zero_shot(
    image: Classifier, backbone: str, pretrained: str, classes: Sequence[str], templates: Sequence[str]
) -> ZeroShot:
    """The zero-shot classifier of ``classes``, each embedded as the mean over ``templates``.

    Args:
        image: the frozen image tower of ``backbone`` and ``pretrained``.
        pretrained: ``open_clip:<tag>``, ``openai``, or a file that holds both towers.
    """
    import open_clip  # slow to import, and needed here alone

    name = open_clip_name(backbone)
    sizes = open_clip.get_model_config(name)
    clip = open_clip.CLIP(**{**sizes, "quick_gelu": uses_quickgelu(image)}).eval()  # both towers have the same
    state, source = of_image_model(read_state_dict(open_clip_file(backbone, pretrained)), pretrained)
    wanted = {key for key in clip.state_dict() if not key.startswith("visual.") or key == "visual.proj"}
    if missing := sorted(wanted - state.keys()):
        raise UserError(f"{pretrained}: no weights for {missing[0]}; zero-shot needs CLIP's text tower too")
    check_numbers({key: state[key] for key in wanted}, source)
    try:
        clip.load_state_dict({key: state[key] for key in wanted}, strict=False)
    except RuntimeError as error:
        raise UserError(f"{pretrained}: weights of another CLIP than {name} ({str(error).splitlines()[-1]})") from None
    names = [label.replace("_", " ") for label in classes]
    with torch.no_grad():
        weights = open_clip.build_zero_shot_classifier(clip, open_clip.get_tokenizer(name), names, list(templates))
    return ZeroShot(image, clip.visual.proj.detach(), weights, clip.logit_scale.exp().item())
