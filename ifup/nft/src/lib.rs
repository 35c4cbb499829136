//! nftables transactions over nfnetlink, without the nft program.
