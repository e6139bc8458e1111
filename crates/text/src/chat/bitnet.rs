/// The chat format of BitNet b1.58 2B-4T, from the `tokenizer_config.json` of microsoft/bitnet-b1.58-2B-4T.
pub const BITNET_2B4T_TEMPLATE: &str = "{% for message in messages %}{{ message['role'] | capitalize + ': ' + \
     message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";

/// What to use instead of a template known to be wrong; `None` for all others.
///
/// The official GGUF files of BitNet 2B-4T carry a placeholder (`Human: ... BITNETAssistant: `, hard-wired in the converter
/// `utils/convert-ms-to-gguf-bitnet.py` of microsoft/BitNet) in place of the format that the model was trained on.
#[must_use]
pub fn gguf_template_override(template: &str) -> Option<&'static str> {
    template
        .contains("BITNETAssistant")
        .then_some(BITNET_2B4T_TEMPLATE)
}
