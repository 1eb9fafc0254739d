using System.Security.Cryptography;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Tests;

/// <summary>Keys whose values come from outside: put into the token plain, and wrapped by a key of its own.</summary>
public sealed class RootKeyImportTests : IDisposable
{
    private static readonly byte[] s_data = "what it belongs to"u8.ToArray();

    private readonly RootGenerationDescriptor _planned = RootGenerationDescriptor.Plan(3, SoftHsm.InstanceId);
    private readonly byte[][] _bytes = [.. Enumerable.Range(0, 3).Select(_ => RandomNumberGenerator.GetBytes(32))];

    public void Dispose()
    {
        using Token token = SoftHsm.Open();
        token.DestroyGeneration(_planned);
        Assert.Empty(token.FindRootObjects());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_imported_generation_works_as_its_values_say(bool isWrapped)
    {
        using Token token = Open(isWrapped);
        using RootKeyValues values = Values(_bytes);
        RootGenerationDescriptor made = token.ImportGeneration(_planned, values);
        Assert.Equal(HMACSHA256.HashData(_bytes[2], "kmsd/v1/check/mac"u8), made.MacCheck);
        Assert.Equal(KeyWrap.Unwrap(_bytes[0], made.WrapCheck), "kmsd/v1/check/wrap: thirty-two b"u8.ToArray());
        RootGeneration root = token.OpenGeneration(made);
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        byte[] blob = root.Seal(material, s_data);
        byte[] opened = new byte[32];
        using AesGcm aes = new(_bytes[1], 16);
        aes.Decrypt(blob.AsSpan(0, 12), blob.AsSpan(12, 32), blob.AsSpan(44), opened, s_data);
        Assert.Equal([.. Enumerable.Repeat((byte)7, 32)], opened);
        Assert.True(token.Proves(made, values));
        Assert.Equal(3, token.FindRootObjects().Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_imported_key_may_do_its_one_thing_and_cannot_leave_change_or_be_copied(bool isWrapped)
    {
        using Token token = Open(isWrapped);
        using RootKeyValues values = Values(_bytes);
        RootGenerationDescriptor made = token.ImportGeneration(_planned, values);
        foreach (RootRole role in new[] { RootRole.Wrap, RootRole.Seal, RootRole.Mac })
        {
            CKA[] uses = PlantedKey.UsesOf(role);
            CKA[] on = [CKA.CKA_TOKEN, CKA.CKA_PRIVATE, CKA.CKA_SENSITIVE, .. uses];
            CKA[] off =
            [
                CKA.CKA_EXTRACTABLE, CKA.CKA_MODIFIABLE, CKA.CKA_COPYABLE, CKA.CKA_LOCAL,
                .. new[] { CKA.CKA_WRAP, CKA.CKA_UNWRAP, CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT, CKA.CKA_SIGN, CKA.CKA_VERIFY, CKA.CKA_DERIVE }.Except(uses),
            ];
            ulong key = PlantedKey.Find(token, PlantedKey.IdOf(made, role));
            _ = token.Operate(session =>
            {
                Assert.All(on, attribute => Assert.Equal([1], token.Module.Attribute(session, key, attribute)));
                Assert.All(off, attribute => Assert.Equal([0], token.Module.Attribute(session, key, attribute)));
                Assert.Null(token.Module.Attribute(session, key, CKA.CKA_VALUE));
                return true;
            });
        }
    }

    [Fact]
    public void A_token_that_takes_no_plain_value_gets_them_wrapped()
    {
        using LimitedModule module = new();
        using Token token = Open(isWrapped: false);
        using RootKeyValues values = Values(_bytes);
        LimitedModule.RefuseCreations();
        RootGenerationDescriptor made = token.ImportGeneration(_planned, values);
        Assert.True(LimitedModule.HasRefusedCreation);
        Assert.Equal(HMACSHA256.HashData(_bytes[2], "kmsd/v1/check/mac"u8), made.MacCheck);
        Assert.True(token.Proves(made, values));
    }

    [Theory]
    [InlineData(CKM.CKM_RSA_PKCS_OAEP)]
    [InlineData(CKM.CKM_RSA_PKCS)]
    public void The_pair_made_for_the_occasion_is_gone_afterwards(CKM lacking)
    {
        using LimitedModule module = new();
        using Token token = Open(isWrapped: true);
        using RootKeyValues values = Values(_bytes);
        LimitedModule.LackUnwrapping(lacking);
        _ = token.ImportGeneration(_planned, values);
        foreach (CKO kind in new[] { CKO.CKO_PUBLIC_KEY, CKO.CKO_PRIVATE_KEY })
        {
            using Template template = new();
            _ = template.Add(CKA.CKA_CLASS, kind);
            Assert.Empty(token.Operate(session => token.Module.Find(session, template)));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_generation_comes_back_under_the_descriptor_that_it_had(bool isWrapped)
    {
        using Token token = Open(isWrapped);
        using RootKeyValues values = Values(_bytes);
        RootGenerationDescriptor made = token.ImportGeneration(_planned, values);
        RootGeneration first = token.OpenGeneration(made);
        using SecretBytes material = new(32, bytes => bytes.Fill(7));
        byte[] blob = first.Seal(material, s_data);
        token.DestroyGeneration(made);
        Assert.Empty(token.FindRootObjects());

        RootGeneration again = token.RestoreGeneration(made, values);
        using SecretBytes opened = again.Open(blob, s_data);
        Assert.Equal(32, opened.Length);
        Assert.Equal(3u, token.OpenGeneration(made).Number);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Another_value_is_not_taken_for_the_generation_and_leaves_nothing(int which)
    {
        using Token token = Open(isWrapped: false);
        using RootKeyValues values = Values(_bytes);
        RootGenerationDescriptor made = token.ImportGeneration(_planned, values);
        byte[][] changed = [.. _bytes.Select(bytes => bytes.ToArray())];
        changed[which][31] ^= 1;
        using RootKeyValues other = Values(changed);
        Assert.False(token.Proves(made, other));
        Assert.False(token.AreSame(values, other));
        Assert.True(token.AreSame(values, values));
        Assert.Equal(3, token.FindRootObjects().Count);

        token.DestroyGeneration(made);
        TokenException refused = Assert.Throws<TokenException>(() => token.RestoreGeneration(made, other));
        Assert.Equal(TokenFault.RootKeyMismatch, refused.Fault);
        Assert.Empty(token.FindRootObjects());
    }

    private static Token Open(bool isWrapped)
    {
        using SecretBytes pin = new(System.Text.Encoding.UTF8.GetBytes(SoftHsm.Pin));
        return Token.Open(SoftHsm.ModulePath, new TokenSelector(SoftHsm.Label, null), pin, new TokenOptions { Sessions = 4, ImportsWrapped = isWrapped });
    }

    private static RootKeyValues Values(byte[][] bytes)
    {
        SecretBytes[] secrets = [.. bytes.Select(value => new SecretBytes(value.Length, fill => value.CopyTo(fill)))];
        return new RootKeyValues(secrets[0], secrets[1], secrets[2]);
    }
}
