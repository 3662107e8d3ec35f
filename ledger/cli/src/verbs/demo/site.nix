# A profile of two packages: a script that never changes, and the page of one
# version that it shows. Nix joins them by itself, as `nix-env` does, so nothing
# is fetched and no compiler is needed.
{ version }:
let
  packages = [ ./script (./. + "/page-v${version}") ];
in
derivation {
  name = "site-v${version}";
  system = "builtin";
  builder = "builtin:buildenv";
  derivations = map (package: [ "true" "5" "1" "${package}" ]) packages;
  manifest = builtins.toFile "manifest.nix" "[ ]";
}
