# Completions of bash for ctnbpf: `ctnbpf complete` says what there is. Loaded by bash-completion.
# shellcheck shell=bash

_ctnbpf() {
  local cur='' words=() cword=0 line reply=() cut
  declare -F _get_comp_words_by_ref >/dev/null || return # there is no bash-completion
  # A word of ours holds ':' and '=', at which bash cuts.
  _get_comp_words_by_ref -n ':=' cur words cword
  COMPREPLY=()
  mapfile -t reply < <("${words[0]}" complete -- "${words[@]:1:cword}" 2>/dev/null)
  case ${reply[0]-} in
    :files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$cur") && return ;;
    :directories) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$cur") && return ;;
    # COMP_WORDS has more words than we count; the offset is that of the cut ones.
    ':command '*) _ctnbpf_command "${reply[0]#* }" && return ;;
  esac
  # What bash takes for another word stands in the line already.
  cut=${cur%"${cur##*[:=]}"}
  for line in "${reply[@]}"; do
    line=${line%%$'\t'*}
    [[ $line != *[/=] ]] || compopt -o nospace
    printf -v line %q "${line#"$cut"}"
    COMPREPLY+=("$line")
  done
}

# The words from the $1-th of ours on are a command line of its own.
_ctnbpf_command() {
  local at=0 first=$(($1 + 1)) ours=0 glued=''
  # Goes along with bash's words until as many of ours have begun.
  for ((at = 0; at <= COMP_CWORD; at++)); do
    if [[ ${COMP_WORDS[at]} != [:=]* && -z $glued ]]; then
      ((ours++ != first)) || break
    fi
    glued=''
    [[ ${COMP_WORDS[at]} != *[:=] ]] || glued=1
  done
  _command_offset "$at"
}

complete -F _ctnbpf ctnbpf
