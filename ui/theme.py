"""Colours, type and spacing of Darkroom as a Gradio theme. Everything else reads the CSS variables made here."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

# name: (paper, darkroom). Text pairs are WCAG AA on every surface they stand on.
# fmt: off
PALETTE = {
    "page": ("#F6F3EE", "#100E0D"), "surface": ("#FFFFFF", "#191615"), "raised": ("#EFEAE3", "#24201E"),
    "line": ("#DED7CD", "#332E2B"), "edge": ("#8C8279", "#776E68"), "text": ("#1C1917", "#F1ECE6"),
    "quiet": ("#645B54", "#AAA19A"), "safelight": ("#C42A1C", "#FF6A58"), "action": ("#C42A1C", "#D6301F"),
    "action_hover": ("#A92115", "#BF2718"), "glow": ("#FBEAE6", "#2E1612"), "amber": ("#8A5A00", "#E0AE55"),
}
# fmt: on
TOGGLE_THEME = """() => { const dark = document.body.classList.toggle('dark');
localStorage.setItem('darkroom-theme', dark ? 'dark' : 'light'); }"""
HEAD = f"<script>{(Path(__file__).parent / 'window.js').read_text(encoding='utf-8')}</script>"
REMEMBER_PAGE = "() => {{ sessionStorage.setItem('darkroom-page', '{page}'); }}"
LAST_PAGE = "() => ({__type__: 'update', ...(window.darkroomPage ? {selected: window.darkroomPage} : {})})"
FIRST_PAGE = "page => ({__type__: 'update', ...(window.darkroomPage || window.darkroomClicked ? {} : {selected: page})})"
# Both are in the Gradio wheel. Their 500 and 600 files lack Latin letters: 400 and 700 only.
SANS = [gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"]
MONO = [gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"]
# fmt: off
FIELDS = {  # theme variable: palette name or literal
    "body_background_fill": "page", "body_text_color": "text", "body_text_color_subdued": "quiet",
    "background_fill_primary": "surface", "background_fill_secondary": "page",
    "border_color_primary": "line", "border_color_accent": "safelight", "color_accent_soft": "glow",
    "link_text_color": "safelight", "link_text_color_hover": "text", "link_text_color_visited": "safelight",
    "link_text_color_active": "safelight", "block_background_fill": "transparent",
    "block_border_width": "0px", "block_shadow": "none", "block_padding": "0", "block_radius": "6px",
    "block_label_background_fill": "transparent", "block_label_border_width": "0px",
    "block_label_text_color": "quiet", "block_label_shadow": "none", "block_title_text_color": "text",
    "block_title_text_weight": "600", "block_title_text_size": "13px",
    "block_title_background_fill": "transparent", "block_info_text_color": "quiet",
    "block_info_text_size": "13px", "layout_gap": "20px", "form_gap_width": "0px",
    "input_background_fill": "surface", "input_background_fill_focus": "surface",
    "input_background_fill_hover": "surface", "input_border_width": "1px", "input_border_color": "edge",
    "input_border_color_hover": "quiet", "input_border_color_focus": "text",
    "input_placeholder_color": "quiet", "input_radius": "6px", "input_padding": "9px 12px",
    "input_text_size": "15px", "input_shadow": "none", "input_shadow_focus": "none",
    "checkbox_background_color": "surface", "checkbox_background_color_selected": "action",
    "checkbox_border_color": "edge", "checkbox_border_color_selected": "action",
    "checkbox_label_background_fill": "surface", "checkbox_label_background_fill_hover": "raised",
    "checkbox_label_background_fill_selected": "glow", "checkbox_label_text_color": "text",
    "checkbox_label_text_color_selected": "text", "checkbox_label_border_width": "1px",
    "checkbox_label_border_color": "edge", "checkbox_label_border_color_hover": "quiet",
    "checkbox_label_border_color_selected": "safelight", "checkbox_label_padding": "10px 14px",
    "button_primary_background_fill": "action", "button_primary_background_fill_hover": "action_hover",
    "button_primary_border_color": "action", "button_primary_text_color": "#FFFFFF",
    "button_secondary_background_fill": "raised", "button_secondary_background_fill_hover": "line",
    "button_secondary_text_color": "text", "button_secondary_border_color": "raised",
    "button_secondary_border_color_hover": "line", "button_large_radius": "6px",
    "button_medium_radius": "6px", "button_small_radius": "6px", "button_large_text_size": "15px",
    "button_medium_text_size": "14px", "button_small_text_size": "13px", "button_small_text_weight": "600",
    "button_large_padding": "11px 20px", "button_medium_padding": "8px 16px",
    "button_small_padding": "6px 12px", "slider_color": "action", "stat_background_fill": "safelight",
    "loader_color": "safelight", "table_border_color": "line", "table_even_background_fill": "surface",
    "table_odd_background_fill": "surface", "table_row_focus": "glow", "panel_background_fill": "page",
    "error_background_fill": "surface", "error_border_color": "amber", "error_text_color": "text",
    "error_icon_color": "amber", "code_background_fill": "raised", "prose_text_size": "15px",
    "body_text_size": "15px", "accordion_text_color": "text",
}
# fmt: on


def make_theme() -> gr.themes.Base:
    shades = "#FDF1EE #FBE0DA #F7C3B8 #F29C8C #FF6A58 #E5382A #D6301F #C42A1C #A92115 #7A1D13 #2E1612"
    red = gr.themes.Color(*shades.split(), name="safelight")
    theme = gr.themes.Base(primary_hue=red, neutral_hue="stone", font=SANS, font_mono=MONO)
    values = {}
    for field, value in FIELDS.items():
        light, dark = PALETTE.get(value, (value, value))
        values[field] = light
        if hasattr(theme, f"{field}_dark"):
            values[f"{field}_dark"] = dark
    return theme.set(**values)


def palette_css() -> str:
    """The palette as CSS variables, for app.css and the HTML pieces."""
    names = {name: f"--{name.replace('_', '-')}" for name in PALETTE}
    paper, dark = ("".join(f"{names[key]}:{pair[i]};" for key, pair in PALETTE.items()) for i in (0, 1))
    return f":root{{{paper}color-scheme:light}} :root.dark,:root .dark{{{dark}color-scheme:dark}}"


def stylesheet() -> str:
    return palette_css() + (Path(__file__).parent / "app.css").read_text(encoding="utf-8")
