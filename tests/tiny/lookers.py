"""Random tiny models that look at pictures: the real classes of transformers, saved with their processors, no download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as t
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers import models as words
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from .models.krea2 import qwen3_vl
from .models.qwen import text_encoder, tokenizer
from .parts import byte_words

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save(folder: Path, model: Any, *others: Any) -> Path:
    """All in one folder, as on the hub."""
    for one in (model, *others):
        one.save_pretrained(folder)
    return folder


def byte_tokenizer(marks: list[str], **named: str) -> t.PreTrainedTokenizerFast:
    """One token a byte, after the marks."""
    core = Tokenizer(words.BPE(vocab=byte_words(marks), merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return t.PreTrainedTokenizerFast(tokenizer_object=core, **named)


def florence2(folder: Path) -> Path:
    torch.manual_seed(0)
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]
    reader = t.BartTokenizer(vocab=byte_words(marks), merges=[], extra_special_tokens={"image_token": "<image>"})
    config = t.Florence2Config(
        vision_config={
            "depths": (1, 1, 1, 1), "embed_dim": (8, 8, 8, 8), "num_heads": (2, 2, 2, 2), "num_groups": (2, 2, 2, 2), "window_size": 2,
            "projection_dim": 16,
        },
        text_config={
            "model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
            "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "vocab_size": len(reader), "max_position_embeddings": 200, "init_std": 0.5,
        },
        image_token_id=reader.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    images = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False, image_seq_length=5)
    return save(folder, t.Florence2ForConditionalGeneration(config), reader, images)


def qwen2_5_vl(folder: Path) -> Path:
    torch.manual_seed(0)
    reader = tokenizer()
    reader.chat_template = CHAT
    return save(folder, loud(text_encoder()), reader, qwen_images(14))


def qwen3_vl_folder(folder: Path) -> Path:
    """Its chat template is in a file of its own."""
    torch.manual_seed(0)
    config = qwen3_vl(layers=2)
    save(folder, loud(t.Qwen3VLForConditionalGeneration(config)), tokenizer(), qwen_images(config.vision_config.patch_size))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT}))
    return folder


def loud(model: Any) -> Any:
    """With larger weights, so that what it says depends on what it sees."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(10)
    return model


def qwen_images(patch: int) -> Qwen2VLImageProcessorPil:
    side = patch * 2
    return Qwen2VLImageProcessorPil(patch_size=patch, merge_size=2, min_pixels=side * side, max_pixels=side * side * 16)


def blip(folder: Path) -> Path:
    torch.manual_seed(0)
    letters = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{one}" for one in "abcdefghijklmnopqrstuvwxyz"),
    ]
    reader = t.BertTokenizer(vocab={one: index for index, one in enumerate(letters)})
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "projection_dim": 16}
    text = {
        **size, "vocab_size": len(letters), "encoder_hidden_size": 16, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0,
        "max_position_embeddings": 64,
    }  # fmt: skip
    config = t.BlipConfig(text_config=text, vision_config={**size, "image_size": 32, "patch_size": 16})
    return save(folder, loud(t.BlipForConditionalGeneration(config)), reader, BlipImageProcessorPil(size={"height": 32, "width": 32}))


TAGS = ["rating:general", "blue_hair", "outdoors", "^_^", "solo"]


def tagger(folder: Path, wd: bool = False) -> Path:
    """Sure of all tags but the last, the more of those further on; with ``wd``, it says how it sees pictures by a class of its own."""
    config = t.Swinv2Config(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, id2label=dict(enumerate(TAGS)),
        label2id={tag: index for index, tag in enumerate(TAGS)}, problem_type="multi_label_classification",
    )  # fmt: skip
    model = t.Swinv2ForImageClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([4.0, 1.0, 2.0, 3.0, -1.0]))
    save(folder, model, ViTImageProcessorPil(size={"height": 32, "width": 32}))
    if wd:
        own = {"image_processor_type": "WDTaggerImageProcessor", "auto_map": {"AutoImageProcessor": "own_code.WDTaggerImageProcessor"}}
        (folder / "preprocessor_config.json").write_text(json.dumps(own))
    return folder


def clipseg(folder: Path) -> Path:
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    marks = ["<|pad|>", "<|startoftext|>", "<|endoftext|>"]
    reader = byte_tokenizer(marks, pad_token="<|pad|>", bos_token="<|startoftext|>", eos_token="<|endoftext|>")
    around = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 1), ("<|endoftext|>", 2)]
    )
    reader.backend_tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), around])
    text = {**size, "vocab_size": len(reader), "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    config = t.CLIPSegConfig(
        text_config=text, vision_config={**size, "image_size": 32, "patch_size": 8}, projection_dim=16, extract_layers=[0, 1], reduce_dim=16, conditional_layer=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    model = loud(t.CLIPSegForImageSegmentation(config))
    with torch.no_grad():  # the words count as much as the picture
        model.clip.text_model.embeddings.token_embedding.weight.mul_(30)
        model.decoder.film_mul.weight.mul_(30)
        model.decoder.film_add.weight.mul_(30)
        model.decoder.transposed_convolution.weight.mul_(0.01)
    return save(folder, model, reader, ViTImageProcessorPil(size={"height": 32, "width": 32}))


LABELS = {0: "wall", 1: "person"}


def mask2former(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = t.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[2, 2, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = t.Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=32, mask_feature_size=32, feature_size=32, encoder_layers=1, decoder_layers=2, num_attention_heads=2,
        dim_feedforward=16, encoder_feedforward_dim=16, num_queries=4, id2label=LABELS,
    )  # fmt: skip
    return save(folder, t.Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessorPil(size={"height": 64, "width": 64}))


def segformer(folder: Path) -> Path:
    """Everything is a person."""
    config = t.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 8], patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[1, 1],
        mlp_ratios=[1, 1], decoder_hidden_size=8, id2label=LABELS,
    )  # fmt: skip
    model = t.SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        model.decode_head.classifier.weight.zero_()
        model.decode_head.classifier.bias.copy_(torch.tensor([0.0, 1.0]))
    return save(folder, model, SegformerImageProcessorPil(size={"height": 32, "width": 32}))


def depth_anything(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = t.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=1, image_size=28, patch_size=14, out_indices=[1, 2, 3, 4],
        apply_layernorm=True, reshape_hidden_states=False,
    )  # fmt: skip
    config = t.DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16, reassemble_factors=[4, 2, 1, 0.5], neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_in_index=-1, head_hidden_size=8,
    )  # fmt: skip
    images = DPTImageProcessorPil(size={"height": 28, "width": 28}, keep_aspect_ratio=True, ensure_multiple_of=14)
    return save(folder, loud(t.DepthAnythingForDepthEstimation(config)), images)


def vitpose(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = t.VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=1, num_attention_heads=2, out_indices=[1]
    )
    config = t.VitPoseConfig(backbone_config=backbone, num_labels=17)
    model = loud(t.VitPoseForPoseEstimation(config))
    with torch.no_grad():
        model.head.conv.bias.fill_(1.0)  # every point is seen
    return save(folder, model, VitPoseImageProcessorPil(size={"height": 64, "width": 48}))


def detector(folder: Path, sure: float = 10.0) -> Path:
    """Of persons, and sure that everything is one."""
    torch.manual_seed(0)
    backbone = t.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage2", "stage3", "stage4"]
    )
    config = t.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 8, 8], encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
        d_model=16, num_queries=3, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=1, decoder_attention_heads=2, num_denoising=0,
        id2label={0: "person"}, hidden_expansion=1.0,
    )  # fmt: skip
    model = t.RTDetrForObjectDetection(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "class_embed" in name or "enc_score_head" in name:
                weight.fill_(sure) if name.endswith("bias") else weight.zero_()
    return save(folder, model, RTDetrImageProcessorPil(size={"height": 64, "width": 64}))
