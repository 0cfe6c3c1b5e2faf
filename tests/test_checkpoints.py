"""Checkpoints in other models than the one that wrote them."""

import pytest
import torch
from conftest import TINY, perturb, tiny

import videoadapt
from videoadapt.builders import fill_model
from videoadapt.engine.checkpoint import read_checkpoint, save_checkpoint, trainable_tensors
from videoadapt.errors import UserError
from videoadapt.models.backbone import load_backbone


def _checkpoint(path, model, section):
    config = {"model": section.model_dump(), "data": {"num_classes": 5}}
    about = {"config": config, "classes": list("abcde"), "fingerprint": model.fingerprint}
    save_checkpoint(path, trainable_tensors(model), about)
    return path


def test_a_fully_trained_checkpoint_fits_other_images_and_frames(tmp_path):
    torch.save(load_backbone(tiny().backbone, "none", options=TINY).state_dict(), tmp_path / "w.pt")
    options = {"unfreeze": ["all"], "pretrained": str(tmp_path / "w.pt")}
    section = tiny(**options)
    model = videoadapt.build_model(section)
    perturb(model)
    path = _checkpoint(tmp_path / "c.safetensors", model, section)
    larger = videoadapt.build_model(tiny(**options, image_size=48, num_frames=6)).eval()
    fill_model(larger, *read_checkpoint(path), path)
    assert larger(torch.randn(1, 3, 6, 48, 48)).shape == (1, 5)
    same = videoadapt.load_checkpoint(path)
    assert torch.equal(same.backbone.pos_embed, model.backbone.pos_embed)


def test_a_moved_backbone_file_has_a_remedy(tmp_path):
    weights = tmp_path / "w.pt"
    torch.save(load_backbone(tiny().backbone, "none", options=TINY).state_dict(), weights)
    section = tiny(pretrained=str(weights))
    model = videoadapt.build_model(section)
    _checkpoint(tmp_path / "c.safetensors", model, section)
    weights.rename(tmp_path / "moved.pt")
    with pytest.raises(UserError, match=r"w.pt: no such weight file"):
        videoadapt.load_checkpoint(tmp_path / "c.safetensors")
    videoadapt.load_checkpoint(tmp_path / "c.safetensors", pretrained=str(tmp_path / "moved.pt"))
