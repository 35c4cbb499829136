#!/bin/sh
# What udhcpc runs: takes a lease into force.
case "$1" in
deconfig)
  ip -4 addr flush dev "$interface"
  ;;
bound | renew)
  test -n "$mtu" && ip link set "$interface" mtu "$mtu"
  test -n "$hostname" && hostname "$hostname"
  ip addr replace "$ip/${mask:-32}" dev "$interface"
  if test -n "$staticroutes"; then # RFC 3442: then the router option does not count
    set -- $staticroutes
    while test $# -ge 2; do
      if test "$2" = 0.0.0.0; then ip route replace "$1" dev "$interface"; else ip route replace "$1" via "$2" dev "$interface"; fi
      shift 2
    done
  else
    for gateway in $router; do ip route replace default via "$gateway" dev "$interface"; done
  fi
  { test -n "$search$domain" && echo "search ${search:-$domain}"
    for server in $dns; do echo "nameserver $server"; done; } > /etc/resolv.conf
  ;;
esac
