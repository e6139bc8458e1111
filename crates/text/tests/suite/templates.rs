//! What templates can use: the helpers of transformers and Python's ways.

use std::time::{Duration, UNIX_EPOCH};

use llm_text::{
    BITNET_2B4T_TEMPLATE, ChatTemplate, Message, RenderOptions, TextError, gguf_template_override,
};
use serde_json::{Value, json};

use crate::support::{model, report};

#[test]
fn templates_see_what_transformers_gives_them() {
    let cases = [
        (
            "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}",
            "<s>|</s>|",
        ),
        (
            "{{ messages | length }}{{ messages[0].role }}{{ messages[0]['content'] }}",
            "2userHi ",
        ),
        (
            "{{ tools is none }}{{ documents is none }}{{ tools is defined }}",
            "TrueTrueTrue",
        ),
        (
            "{{ add_generation_prompt }}{{ enable_thinking }}",
            "TrueFalse",
        ),
        ("{{ strftime_now('%d %b %Y') }}", "29 Feb 2000"),
        (
            "{{ [1, 2.0, 'a\"<é>', none, true] | tojson }}",
            "[1, 2.0, \"a\\\"<é>\", null, true]",
        ),
        ("{{ {'b': 1, 'a': []} | tojson }}", "{\"b\": 1, \"a\": []}"),
        (
            "{{ {'b': 1, 'a': [1, {}]} | tojson(indent=2, sort_keys=true) }}",
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": 1\n}",
        ),
        (
            "{{ ['é🚀'] | tojson(ensure_ascii=true) }}",
            "[\"\\u00e9\\ud83d\\ude80\"]",
        ),
        (
            "{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }}",
            "[1,{\"a\":2}]",
        ),
        (
            "{{ [1e16, 1.5e-7, 0.0001, 123456.789, -0.0] | tojson }}",
            "[1e+16, 1.5e-07, 0.0001, 123456.789, -0.0]",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        ),
        (
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "023",
        ),
        (
            "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'a': 1}.get('b', 7) }}",
            "a1b27",
        ),
        (
            "{{ '  a b '.strip().split(' ')[-1].upper() }}{{ 'abc'.startswith('ab') }}{{ 'x'.join(['a', 'b']) }}",
            "BTrueaxb",
        ),
        (
            "{{ '{} and {}'.format(1, 'two') }}{{ '%s-%03d' | format('a', 7) }}",
            "1 and twoa-007",
        ),
        (
            "{{ 'a</think>b'.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}",
            "a",
        ),
        (
            "{{ messages[::-1][0].role }}{{ messages[1:] | length }}{{ messages[-1].role }}",
            "assistant1assistant",
        ),
        (
            "{% for m in messages %}{{ loop.index0 }}{{ loop.first }}{{ (loop.previtem or m).role }}{{ loop.last }}{% endfor %}",
            "0TrueuserFalse1FalseuserTrue",
        ),
        (
            "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
            "1(2(3))",
        ),
        (
            "{% macro f(a, b='!') %}{{ a ~ b }}{% endmacro %}{{ f('x') + f('y', b='?') }}",
            "x!y?",
        ),
        (
            "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}in{% endcall %}",
            "[in]",
        ),
        (
            "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(',') }}",
            "Hi ",
        ),
        (
            "{{ ([1] + [2, 3]) | list }}{{ 'ab' * 2 }}{{ 7 // 2 }}{{ 2 ** 3 }}{{ 1 in [1] }}{{ 'a' ~ 1 ~ none }}",
            "[1, 2, 3]abab38Truea1None",
        ),
        (
            "{% filter upper %}a{% endfilter %}{% set x %}b{% endset %}{{ x }}{% set y | trim %} c {% endset %}{{ y }}",
            "Abc",
        ),
        (
            "{% if messages[0].content is string and not messages[0].tool_calls %}s{% endif %}",
            "s",
        ),
        (
            "{{ missing }}{{ missing | default('d') }}{{ messages[0].name is defined }}",
            "dFalse",
        ),
        (
            "a\n  {% if true %}\n  b\n  {% endif %}\n{#- c -#}\nd\n",
            "a\n  b\nd",
        ),
    ];
    let options = RenderOptions {
        add_generation_prompt: true,
        extra: [("enable_thinking".to_owned(), Value::Bool(false))]
            .into_iter()
            .collect(),
        now: Some(UNIX_EPOCH + Duration::from_secs(951_782_400)),
        ..RenderOptions::default()
    };
    let messages = [Message::new("user", "Hi "), Message::new("assistant", "Yo")];
    let mut failures = Vec::new();
    for (source, expected) in cases {
        let rendered = ChatTemplate::new(source, Some("<s>".into()), Some("</s>".into()))
            .and_then(|template| template.render(&messages, &options));
        match rendered {
            Ok(rendered) if rendered == expected => {}
            other => failures.push(format!("{source}\n  gave {other:?}\n  for {expected:?}")),
        }
    }
    report(&failures);
}

#[test]
fn the_message_of_raise_exception_is_kept() {
    let template =
        ChatTemplate::new("{{ raise_exception('only ' ~ 'users') }}", None, None).expect("valid");
    let error = template
        .render(&[], &RenderOptions::default())
        .expect_err("refused");
    assert!(
        matches!(&error, TextError::Template { reason } if reason == "only users"),
        "{error}"
    );
}

#[test]
fn tools_choose_the_template_named_for_them() {
    let template = ChatTemplate::from_folder(&model("llama-fp16"))
        .expect("valid")
        .expect("a template");
    let mut options = RenderOptions::default();
    let messages = [Message::new("user", "Hi")];
    assert!(
        template
            .render(&messages, &options)
            .expect("rendered")
            .starts_with("<|im_start|>user")
    );
    options.tools = Some(json!([{"name": "f"}]));
    assert_eq!(
        template.render(&messages, &options).expect("rendered"),
        "unused"
    );
}

#[test]
fn messages_keep_fields_of_any_name_and_the_order_of_their_keys() {
    let message: Message = serde_json::from_value(json!({
        "role": "assistant", "content": null, "tool_calls": [{"z": 1, "a": 2}]
    }))
    .expect("a message");
    let template =
        ChatTemplate::new("{{ messages[0].tool_calls | tojson }}", None, None).expect("valid");
    let rendered = template
        .render(&[message], &RenderOptions::default())
        .expect("rendered");
    assert_eq!(rendered, "[{\"z\": 1, \"a\": 2}]");
}

#[test]
fn the_placeholder_of_the_official_gguf_is_replaced() {
    let placeholder = "{% for message in messages %}{{ 'Human: ' + message['content'] + '\\n\\nBITNETAssistant: ' }}{% endfor %}";
    assert_eq!(
        gguf_template_override(placeholder),
        Some(BITNET_2B4T_TEMPLATE)
    );
    assert_eq!(gguf_template_override(BITNET_2B4T_TEMPLATE), None);
    let template = ChatTemplate::new(BITNET_2B4T_TEMPLATE, None, None).expect("valid");
    let options = RenderOptions {
        add_generation_prompt: true,
        ..RenderOptions::default()
    };
    let rendered = template
        .render(&[Message::new("user", " Hi ")], &options)
        .expect("rendered");
    assert_eq!(rendered, "User: Hi<|eot_id|>Assistant: ");
}
