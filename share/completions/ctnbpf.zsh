#compdef ctnbpf
# Completions of zsh for ctnbpf: `ctnbpf complete` says what there is.

local line word
local -a reply done_words done_help open_words open_help
reply=("${(@f)$(${(Q)words[1]} complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
case $reply[1] in
  '') return 1 ;;
  :files) _files; return ;;
  :directories) _files -/; return ;;
  ':command '*)
    local first=$((${reply[1]#* } + 2))
    words=("${(@)words[first,-1]}")
    ((CURRENT -= first - 1))
    _normal
    return
    ;;
esac
for line in $reply; do
  word=${line%%$'\t'*}
  if [[ $word == *[/=] ]]; then
    open_words+=("$word") open_help+=("$word  ${line#*$'\t'}")
  else
    done_words+=("$word") done_help+=("$word  ${line#*$'\t'}")
  fi
done
local found=1
((! $#done_words)) || { compadd -l -d done_help -a done_words && found=0; }
((! $#open_words)) || { compadd -S '' -l -d open_help -a open_words && found=0; }
return found
