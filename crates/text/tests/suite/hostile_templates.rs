//! Templates that would take all time, memory or stack in a naive renderer.

use std::fs;
use std::time::{Duration, Instant};

use llm_text::{ChatTemplate, Message, RenderOptions, TextError};

use crate::support::{entries, json, oracle, report, text};

const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Of this process, which also holds everything else the tests load.
const MEMORY_LIMIT_KIB: u64 = 1 << 20;

#[test]
fn every_template_of_the_malformed_corpus_ends_in_time_and_as_expected() {
    let manifest = json(&oracle("malformed/manifest.json"));
    let mut failures = Vec::new();
    let mut tried = 0;
    for case in entries(&manifest["cases"]) {
        let Some(name) = text(&case["id"]).strip_prefix("dirs/tpl_") else {
            continue;
        };
        tried += 1;
        let started = Instant::now();
        let rendered = ChatTemplate::from_folder(&oracle(&format!("malformed/dirs/tpl_{name}")))
            .and_then(|template| {
                template
                    .map(|template| user_says_hello(&template))
                    .transpose()
            });
        let took = started.elapsed();
        if took > TIME_LIMIT {
            failures.push(format!("{name}: took {took:?}"));
        }
        // No template at all is an error of whoever asks for one.
        let refused = !matches!(rendered, Ok(Some(_)));
        if text(&case["expect"]) == "reject" && !refused {
            failures.push(format!("{name}: rendered {rendered:?}"));
        }
        if let Err(error) = &rendered {
            let message = error.to_string().to_lowercase();
            let mentions = entries(&case["mention_any"]);
            if !mentions
                .iter()
                .any(|word| message.contains(&text(word).to_lowercase()))
            {
                failures.push(format!("{name}: the message is {message}"));
            }
        }
    }
    report(&failures);
    assert!(tried > 25, "{tried} templates");
    assert_memory_is_bounded();
}

#[test]
fn templates_made_to_exhaust_memory_or_time_are_refused() {
    let cases = [
        // Strings.
        ("doubling by addition", grow("ns.s + ns.s", "'aaaaaaaa'")),
        ("doubling in a set block", "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}{{ ns.s }}".into()),
        ("doubling in a macro", "{% macro f(s, n) %}{{ f(s ~ s, n - 1) if n else s }}{% endmacro %}{{ f('aaaaaaaa', 60) }}".into()),
        ("doubling by replace", grow("ns.s | replace('a', 'aa')", "'aaaaaaaa'")),
        ("doubling by a method", grow("ns.s.replace('a', 'aa')", "'aaaaaaaa'")),
        ("doubling by join", grow("[ns.s, ns.s] | join", "'aaaaaaaa'")),
        ("doubling by the join method", grow("''.join([ns.s, ns.s])", "'aaaaaaaa'")),
        ("doubling by format", grow("'%s%s' | format(ns.s, ns.s)", "'aaaaaaaa'")),
        ("doubling by the format method", grow("'{0}{0}'.format(ns.s)", "'aaaaaaaa'")),
        ("doubling by upper case", grow("(ns.s | upper) * 2", "'aaaaaaaa'")),
        ("a wide field", "{{ '{:>1000000000000}'.format('x') }}".into()),
        ("a wide field by a number", "{{ '%*s' | format(1000000000000, 'x') }}".into()),
        ("many fields", "{{ ('{0}' * 1000000).format('a' * 1000000) }}".into()),
        ("a wide indent", "{{ 'a\nb' | indent(1000000000000) }}".into()),
        ("many joined references", "{{ ''.join(['a' * 1000000] * 100000) }}".into()),
        ("many parts", "{{ ('a ' * 10000000).split(' ') | length }}{{ 1 / 0 }}".into()),
        ("many lines", "{{ ('a\n' * 10000000).splitlines() | length }}{{ 1 / 0 }}".into()),
        ("many characters", "{{ ('a' * 30000000) | list | length }}{{ 1 / 0 }}".into()),
        ("a repeated template", "{% for i in range(100000) %}{{ 'a' * 1000000 }}{% endfor %}".into()),
        // Lists and maps.
        ("doubling lists", grow("ns.s + ns.s", "[1]")),
        ("doubling tuples", grow("ns.s + ns.s", "(1, 2)")),
        ("repeating lists", grow("ns.s * 1000", "[1]")),
        ("lists of themselves", grow("[ns.s, ns.s]", "[1]")),
        ("maps of themselves", grow("{'a': ns.s, 'b': ns.s}", "{}")),
        ("namespaces of themselves", grow("dict(a=ns.s, b=ns.s)", "1")),
        ("lists of themselves as text", grow("[ns.s, ns.s] ~ ''", "[1]")),
        ("a namespace in itself", "{% set ns = namespace() %}{% set ns.s = ns %}{{ ns }}".into()),
        ("a namespace in its list", "{% set ns = namespace() %}{% set ns.s = [ns] %}{{ ns.s | tojson }}".into()),
        ("a loop in a namespace", "{% set ns = namespace() %}{% for x in [ns] %}{% set ns.s = loop %}{% endfor %}{{ ns }}".into()),
        ("deep lists", "{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}".into()),
        ("deep namespaces", "{% set ns = namespace(s=1) %}{% for i in range(99999) %}{% set ns.s = namespace(s=ns.s) %}{% endfor %}{{ ns.s }}".into()),
        ("deep by a filter", "{% set ns = namespace(s=[1]) %}{% for i in range(99999) %}{% set ns.s = ns.s | batch(1) | list %}{% endfor %}{{ ns.s }}".into()),
        ("a batch filled up", "{{ [1] | batch(10000000000, 0) | list | length }}".into()),
        ("many slices", "{{ [1] | slice(10000000000) | list | length }}".into()),
        ("comparing large lists", "{% set a = [[1] * 100000] %}{% set b = [[1] * 100000] %}{% for i in range(99999) %}{% if a == b %}{% endif %}{% endfor %}{{ 1 / 0 }}".into()),
        ("counting in large lists", "{% set a = ([1] * 400000) | list %}{% for i in range(99999) %}{% set n = a.count(1) %}{% endfor %}{{ 1 / 0 }}".into()),
        ("sorting large lists", "{% set a = range(99999) | list %}{% for i in range(99999) %}{% set n = a | sort %}{% endfor %}{{ 1 / 0 }}".into()),
        // Steps.
        ("nested loops", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{{ 1 / 0 }}".into()),
        ("a recursive loop", "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}".into()),
        ("mutual recursion", "{% macro f(x) %}{{ g(x) }}{% endmacro %}{% macro g(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}".into()),
        ("recursion through a call block", "{% macro f() %}{% call f() %}{% endcall %}{{ caller() }}{% endmacro %}{% call f() %}{% endcall %}".into()),
        // Syntax trees.
        ("a long sum", format!("{{{{ 1{} }}}}", "+1".repeat(200_000))),
        ("many signs", format!("{{{{ {}1 }}}}", "-".repeat(200_000))),
        ("many subscripts", format!("{{{{ x{} }}}}", "[0]".repeat(100_000))),
        ("many attributes", format!("{{{{ x{} }}}}", ".a".repeat(200_000))),
        ("many filters", format!("{{{{ x{} }}}}", "|list".repeat(100_000))),
        ("many conditions", format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(50_000))),
        ("many powers", format!("{{{{ 1{} }}}}", "**1".repeat(100_000))),
        ("deep literals", format!("{{{{ {}1{} }}}}", "[".repeat(100_000), "]".repeat(100_000))),
        ("many elifs", format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(80_000))),
        ("nested loops in source", format!("{}{}", "{% for i in [1] %}".repeat(20_000), "{% endfor %}".repeat(20_000))),
    ];
    let mut failures = Vec::new();
    for (name, source) in cases {
        let started = Instant::now();
        let rendered =
            ChatTemplate::new(&source, None, None).and_then(|template| user_says_hello(&template));
        let took = started.elapsed();
        match rendered {
            Err(TextError::Template { .. }) if took < TIME_LIMIT => {}
            Err(error) => failures.push(format!("{name}: {error} after {took:?}")),
            Ok(text) => failures.push(format!("{name}: rendered {} bytes in {took:?}", text.len())),
        }
    }
    report(&failures);
    assert_memory_is_bounded();
}

#[test]
fn syntax_trees_at_the_limits_fit_on_the_stack() {
    let cases = [
        format!("{{{{ 1{} }}}}", "+1".repeat(2_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(4_000)),
        format!("{{{{ messages{} }}}}", "|list".repeat(2_000)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(999)),
        format!("{{{{ {}1{} }}}}", "(".repeat(40), ")".repeat(40)),
    ];
    for source in cases {
        let template = ChatTemplate::new(&source, None, None).expect("within the limits");
        user_says_hello(&template).expect("within the limits");
    }
}

#[test]
fn no_file_is_read_by_a_template() {
    for source in [
        "{% include '/etc/hostname' %}",
        "{% extends '/etc/hostname' %}",
        "{% import '/etc/hostname' as x %}",
        "{% from '/etc/hostname' import x %}",
    ] {
        let error = ChatTemplate::new(source, None, None).expect_err(source);
        assert!(error.to_string().contains("other templates"), "{error}");
    }
}

/// A template that assigns `step` to `ns.s` 60 times and shows the result.
fn grow(step: &str, start: &str) -> String {
    format!(
        "{{% set ns = namespace(s={start}) %}}{{% for i in range(60) %}}{{% set ns.s = {step} %}}{{% endfor %}}{{{{ ns.s }}}}"
    )
}

fn user_says_hello(template: &ChatTemplate) -> Result<String, TextError> {
    template.render(&[Message::new("user", "hello")], &RenderOptions::default())
}

fn assert_memory_is_bounded() {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return; // Only Linux tells.
    };
    let peak = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .expect("the peak memory");
    assert!(peak < MEMORY_LIMIT_KIB, "{peak} KiB were used");
}
