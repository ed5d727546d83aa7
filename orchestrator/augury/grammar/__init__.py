"""The language of the command line: parameter texts, command templates, and where a command starts.

Pure functions over strings; nothing here touches a file, a process or the network.

- `augury.grammar.parameters`: `--param`, `--json-param`, `--choice` to and from `ParameterSpec`
- `augury.grammar.pairs`: the other `NAME=VALUE` options, `--env` and `--metric-regex`
- `augury.grammar.template`: `:name:` in a command: check it, render it, show it
- `augury.grammar.arguments`: where the options of Augury end and the user's command begins

The rest serves these four: `values` (numbers, lists, what no command can carry), `names`, `suggest`
(did you mean), `shell` (where a placeholder stands in a shell line) and `hints` (notices on commands).
"""
